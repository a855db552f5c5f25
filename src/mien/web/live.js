/** Reads a camera or a video as it plays: one frame at a time, the newest first, each shown as it was read. */

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Reader} Reader */

const RATE_WINDOW = 30;
/** So many frames that fail in a row end it. */
const MOST_FAILURES = 3;

export class Live {
  #stopped = false;
  #start = performance.now();
  /** @type {number[]} */
  #ends = [];
  #tracker = new Tracker();
  /** @type {number | null} */
  #latest = null;
  /** @type {() => void} */
  #wake = () => undefined;

  /**
   * @param {HTMLVideoElement} video  playing, or about to
   * @param {{name: string, kind: "camera" | "video", reader: () => Reader, minFace: () => number | null, choice: () => import("./types.js").Choice,
   *   frame: (answer: Answer, time: number) => void, failed: (error: Error, final: boolean) => void, ended: () => void}} plan
   */
  constructor(video, plan) {
    this.video = video;
    this.plan = plan;
    video.addEventListener("ended", () => plan.ended());
    this.#watch();
    this.#run();
  }

  /** Frames a second, over the last ones. */
  get rate() {
    const ends = this.#ends;
    return ends.length < 2 ? 0 : ((ends.length - 1) * 1000) / (ends[ends.length - 1] - ends[0]);
  }

  /** End it: the camera's light goes off. */
  stop() {
    this.#stopped = true;
    this.video.pause();
    const stream = this.video.srcObject;
    if (stream instanceof MediaStream) for (const track of stream.getTracks()) track.stop();
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.srcObject = null;
    this.#wake();
  }

  async #run() {
    for (let failures = 0; !this.#stopped; ) {
      if (this.#latest === null) await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
      const time = this.#latest;
      this.#latest = null;
      if (time === null || this.#stopped) continue;
      try {
        await this.#readFrame(time);
        failures = 0;
      } catch (error) {
        failures += 1;
        if (!this.#stopped) this.plan.failed(/** @type {Error} */ (error), failures === MOST_FAILURES);
      }
    }
  }

  /** Note when the newest frame is shown, in seconds: of the video's time, or since the start. */
  #watch() {
    this.video.requestVideoFrameCallback((now, frame) => {
      this.#latest = this.plan.kind === "video" ? frame.mediaTime : (now - this.#start) / 1000;
      this.#wake();
      if (!this.#stopped) this.#watch();
    });
  }

  /** @param {number} time */
  async #readFrame(time) {
    const bitmap = await createImageBitmap(this.video);
    const minFace = this.plan.minFace() ?? Math.max(20, Math.round(this.plan.reader().liveMinFace * Math.max(bitmap.width, bitmap.height)));
    const answer = await this.plan.reader().live(bitmap, this.plan.name, { minFace, choice: this.plan.choice() });
    if (this.#stopped) return;
    this.#ends.push(performance.now());
    if (this.#ends.length > RATE_WINDOW) this.#ends.shift();
    const rows = this.#tracker.follow(answer.rows, time);
    this.plan.frame({ ...answer, rows: rows.map((row) => ({ ...row, time_s: Math.round(time * 1000) / 1000 })) }, time);
    answer.bitmap?.close();
  }
}

/** Gives a face the same number from frame to frame, by overlap with where it was. */
export class Tracker {
  #next = 1;
  #frame = 0;
  /** @type {{track: number, box: import("./types.js").Box, time: number}[]} */
  #known = [];

  /**
   * @param {Row[]} rows  of the next frame
   * @param {number} time  its time in seconds; going back begins anew
   * @returns {Row[]}  with `track` and `frame`, in the order of the tracks
   */
  follow(rows, time) {
    this.#known = this.#known.filter((each) => time - each.time < 1 && time >= each.time - 0.001);
    const pairs = rows.flatMap((row, index) => this.#known.map((each) => ({ index, each, share: overlap(row.box_xyxy, each.box) })));
    pairs.sort((a, b) => b.share - a.share);
    /** @type {(number | null)[]} */
    const tracks = rows.map(() => null);
    const taken = new Set();
    for (const { index, each, share } of pairs) {
      if (share <= 0.2 || tracks[index] !== null || taken.has(each)) continue;
      tracks[index] = each.track;
      Object.assign(each, { box: rows[index].box_xyxy, time });
      taken.add(each);
    }
    const frame = this.#frame++;
    const followed = rows.map((row, index) => {
      const track = tracks[index] ?? this.#next++;
      if (tracks[index] === null) this.#known.push({ track, box: row.box_xyxy, time });
      return { ...row, track, frame };
    });
    return followed.sort((a, b) => a.track - b.track).map((row, face) => ({ ...row, face }));
  }
}

/**
 * Intersection over union.
 * @param {import("./types.js").Box} a
 * @param {import("./types.js").Box} b
 */
export function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const shared = width * height;
  return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared);
}
