/** Reads pictures on the server, by `/v1/read` and `/v1/live`. The only module of the page that sends a picture. */

import { LEAST_SCORE, percent, plural } from "./words.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Options} Options */
/** @typedef {import("./types.js").Reader} Reader */

const TRIES = 5;

/** Of this visit alone: a server that tries a new version on some clients gives one visit one version. */
const CLIENT = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const BECAUSE = /** @type {Record<number, string>} */ ({
  401: "The server wants a token, and this page has none.",
  403: "The server does not answer this page.",
  413: "The picture is larger than the server takes.",
  415: "The server does not know this kind of file.",
  429: "The server is busy. Try again in a moment.",
  503: "The server is starting or stopping. Try again in a moment.",
  504: "The server took too long. Try again in a moment.",
});

/** @implements {Reader} */
export class ServerReader {
  mode = /** @type {const} */ ("server");
  liveMinFace = 1 / 16;

  /** Whether the server has said what its models are. */
  told = false;

  #token = "";

  /**
   * @param {(text: string) => void} tell  hears of waiting
   * @param {(again: boolean) => Promise<string>} askToken  "" where the visitor has none
   */
  constructor(tell, askToken) {
    this.tell = tell;
    this.askToken = askToken;
  }

  /** @param {Blob} file @param {string} name @param {Options} options */
  async read(file, name, options) {
    return this.#ask(readUrl({ ...options, minScore: LEAST_SCORE }), file, name);
  }

  /** @param {ImageBitmap} bitmap @param {string} name @param {Options} options @returns {Promise<Answer>} */
  async live(bitmap, name, options) {
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d")).drawImage(bitmap, 0, 0);
    const jpeg = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    return { ...(await this.#ask(readUrl({ ...options, minScore: LEAST_SCORE }, "v1/live"), jpeg, name)), bitmap };
  }

  /** @param {string} url @param {Blob} body @param {string} name @returns {Promise<Answer>} */
  async #ask(url, body, name) {
    const start = performance.now();
    const response = await this.#post(url, body);
    const answer = await response.json().catch(() => null);
    if (!response.ok) throw new Error(reason(answer) ?? BECAUSE[response.status] ?? `The server answered with status ${response.status}.`);
    const picture = answer?.pictures?.[0];
    if (!picture) throw new Error("The server's answer holds no picture. Is it another version of mien?");
    if (picture.error) throw new Error(picture.error.replace(/^picture: /, "")); // what the server calls a body without a name
    const rows = picture.faces.filter((/** @type {any} */ row) => row.frame === picture.faces[0].frame).map((/** @type {any} */ row) => ({ ...row, source: name }));
    return { model: answer.model, width: picture.width, height: picture.height, rows, ms: performance.now() - start };
  }

  /** What runs beside the version that answers; "" where nothing does or the server does not say. */
  async trials() {
    return besides(await this.#models());
  }

  /** What the server's first model can be asked for; nothing where the server does not say: it may want a token first. */
  async answers() {
    const [model] = await this.#models();
    return (model?.answers ?? []).map((/** @type {any} */ { name, meaning, has_prior }) => ({ name, meaning, prior: model.prior, hasPrior: has_prior }));
  }

  /** @returns {Promise<any[]>} */
  async #models() {
    const response = await fetch(new URL("v1/models", document.baseURI), { headers: this.#headers() }).catch(() => null);
    this.told = Boolean(response?.ok);
    return (response?.ok ? await response.json().catch(() => null) : null)?.models ?? [];
  }

  /** @returns {Record<string, string>} */
  #headers() {
    const headers = { Accept: "application/json", "X-Client-Id": CLIENT };
    return this.#token ? { ...headers, Authorization: `Bearer ${this.#token}` } : headers;
  }

  /** @param {string} url @param {Blob} body */
  async #post(url, body) {
    for (let attempt = 1; ; attempt++) {
      let response;
      try {
        response = await fetch(url, { method: "POST", body, headers: { ...this.#headers(), "Content-Type": body.type || "application/octet-stream" } });
      } catch {
        throw new Error("The server cannot be reached. Is it running?");
      }
      if (response.status === 401 && attempt < TRIES && (this.#token = await this.askToken(attempt > 1))) continue;
      if (![429, 503].includes(response.status) || attempt === TRIES) return response;
      const seconds = Math.min(Math.max(Number(response.headers.get("Retry-After")) || attempt, 0.1), 30);
      this.tell(`The server is busy. Trying again in ${Math.ceil(seconds)} s.`);
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }
}

/**
 * Where a picture is sent, with all that is asked for and is not the server's default.
 * @param {Options & {minScore: number | null}} options
 * @param {string} [route]
 */
export function readUrl({ minFace, minScore, choice }, route = "v1/read") {
  const url = new URL(route, document.baseURI);
  const { answer, prior, strength } = choice;
  const asked = { min_face: minFace, min_score: minScore, answer, prior, prior_strength: prior && strength < 1 ? strength : null };
  for (const [name, value] of Object.entries(asked)) if (value !== null) url.searchParams.set(name, String(value));
  return url.href;
}

/**
 * What the server runs beside the version that answers, in sentences.
 * @param {any[]} models  of `/v1/models`
 */
function besides(models) {
  const texts = models.flatMap((/** @type {any} */ model) => [
    model.canary && `Version ${model.canary.version} of ${model.name} is tried on ${percent(model.canary.share)} of the requests.`,
    model.shadow && `Version ${model.shadow.version} of ${model.name} runs unseen beside it: it disagreed on ${model.shadow.disagreements ?? 0} of ${plural(model.shadow.faces ?? 0, "face")}.`,
  ]);
  return texts.filter(Boolean).join(" ");
}

/** @param {any} answer */
function reason(answer) {
  const found = answer?.error ?? answer?.detail ?? answer?.message;
  return typeof found === "string" ? found : typeof found?.message === "string" ? found.message : null;
}
