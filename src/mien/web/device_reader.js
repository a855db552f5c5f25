/** Reads pictures on this device: hands them to a worker and waits. Nothing here or there sends anything. */

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./types.js").Reader} Reader */

/** Threads that do not start within this time are not waited for; one is enough. */
const THREADS_MS = 6000;
const MOST_THREADS = 4;
/** The camera, the page and the rest of the machine need the other half. */
const threadsHere = () => Math.max(1, Math.min(Math.floor((navigator.hardwareConcurrency || 1) / 2), MOST_THREADS));

/** @implements {Reader} */
export class DeviceReader {
  mode = /** @type {const} */ ("device");
  liveMinFace = 1 / 16;
  threads = 0;
  #next = 0;
  /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  /** @type {Worker | null} */
  #worker = null;
  /** @type {Promise<void> | null} */
  #ready = null;

  /**
   * @param {import("./types.js").DeviceSite} site
   * @param {(loading: boolean) => void} progress
   */
  constructor(site, progress) {
    this.site = site;
    this.progress = progress;
  }

  /** Load the networks; at once if that was done. @returns {Promise<void>} */
  ready() {
    this.#ready ??= this.#start().catch((error) => {
      this.#ready = null;
      throw error;
    });
    return this.#ready;
  }

  async answers() {
    return this.site.model.answers.map(({ name, meaning, prior, even }) => ({ name, meaning, prior, hasPrior: even !== null }));
  }

  /** @param {Blob} file @param {string} name @param {Options} options */
  read(file, name, options) {
    return this.#ask({ picture: file, name, ...options });
  }

  /** @param {ImageBitmap} bitmap @param {string} name @param {Options} options */
  live(bitmap, name, options) {
    return this.#ask({ picture: bitmap, name, ...options }, [bitmap]);
  }

  /** @param {Record<string, unknown>} question @param {Transferable[]} [moved] @returns {Promise<Answer>} */
  async #ask(question, moved = []) {
    await this.ready();
    const start = performance.now();
    const id = this.#next++;
    const answer = await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker?.postMessage({ id, ...question }, moved);
    });
    return { ...answer, ms: performance.now() - start };
  }

  async #start() {
    const threads = self.crossOriginIsolated ? threadsHere() : 1;
    try {
      await this.#open(threads);
    } catch (error) {
      if (threads === 1) throw error;
      await this.#open(1);
    }
  }

  /** @param {number} threads @returns {Promise<void>} */
  #open(threads) {
    this.#worker?.terminate();
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      let limit = 0;
      worker.onerror = (event) => {
        reject(new Error(`The reader could not start in this browser${event.message ? `: ${event.message}` : "."}`));
        this.#fail();
      };
      worker.onmessage = ({ data }) => {
        if (data.kind === "loaded" && threads > 1) limit = setTimeout(() => reject(new Error("Threads did not start.")), THREADS_MS);
        else if (data.kind === "ready") {
          clearTimeout(limit);
          this.progress(false);
          this.threads = threads;
          resolve();
        } else if (data.kind === "failed") {
          this.progress(false);
          reject(new Error(data.message));
        } else if (data.id !== undefined) this.#settle(data);
      };
      this.progress(true);
      worker.postMessage({ kind: "start", site: this.site, base: document.baseURI, threads });
    });
  }

  /** @param {{id: number, error?: string, answer?: Answer}} data */
  #settle({ id, error, answer }) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error !== undefined) waiting?.reject(new Error(error));
    else waiting?.resolve(answer);
  }

  #fail() {
    for (const { reject } of this.#waiting.values()) reject(new Error("The reader stopped. Load the page again."));
    this.#waiting.clear();
  }
}
