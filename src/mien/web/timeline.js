/** `<mien-timeline>`: what each face shows over time, one lane a face, with a pointer or the arrow keys to look closer. */

import { h } from "./dom.js";
import { clock, color, percent, plural } from "./words.js";

/** @typedef {import("./types.js").Row} Row */
/** @typedef {{time: number, row: Row}} Point */

const LANES = 4;
const LANE_HEIGHT = 56;
/** Readings further apart than this are not joined, seconds. */
const GAP = 1;
const SHORTEST = 5;

export class MienTimeline extends HTMLElement {
  /** @type {Map<number, Point[]>} */
  #tracks = new Map();
  #lanes = h("div", { class: "lanes" });
  #tip = h("div", { class: "tip", hidden: true });
  #legend = h("ul", { class: "legend" });
  #summary = h("p", { class: "muted small" });
  #drawing = 0;
  /** @type {number | null} */
  #at = null;
  #lane = 0;
  #duration = 0;
  /** @type {string[]} */
  #classes = [];

  connectedCallback() {
    this.replaceChildren(h("h3", { text: "Over time" }), this.#lanes, this.#tip, this.#legend, this.#summary);
    this.#lanes.addEventListener("pointermove", (event) => this.#point(event));
    this.#lanes.addEventListener("pointerleave", () => this.#leave());
    this.#lanes.addEventListener("click", (event) => {
      this.#point(event);
      if (this.#at !== null) this.dispatchEvent(new CustomEvent("seek", { detail: this.#at }));
    });
    this.#lanes.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#ask()).observe(this);
  }

  /** Forget everything. @param {number} duration  seconds, where it is known; else 0 */
  reset(duration) {
    this.#tracks.clear();
    this.#lanes.replaceChildren();
    this.#legend.replaceChildren();
    this.#classes = [];
    this.#duration = duration;
    this.#summary.textContent = "";
    this.#leave();
  }

  /** Take what was read in one frame. @param {Row[]} rows @param {number} time @param {string[]} classes */
  add(rows, time, classes) {
    if (!this.#classes.length && classes.length) {
      this.#classes = classes;
      this.#legend.replaceChildren(...classes.map((label) => h("li", {}, h("i", { style: { background: color(label) } }), label)));
    }
    for (const row of rows) {
      const points = this.#tracks.get(row.track ?? 0) ?? [];
      this.#tracks.set(row.track ?? 0, points);
      const last = points[points.length - 1];
      if (!last || last.time < time) points.push({ time, row });
      else {
        const place = points.findIndex((point) => point.time >= time);
        points.splice(place, points[place].time === time ? 1 : 0, { time, row });
      }
    }
    this.#ask();
  }

  /** Every reading, in the order of time. @returns {Row[]} */
  rows() {
    return [...this.#tracks.values()].flat().sort((a, b) => a.time - b.time || a.row.face - b.row.face).map((point) => point.row);
  }

  /** Say in words what the lanes show. */
  summarize() {
    const texts = this.#shown().map(([track, points]) => {
      const counts = new Map();
      for (const { row } of points) counts.set(row.label, (counts.get(row.label) ?? 0) + 1);
      const parts = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([label, count]) => `${label} in ${percent(count / points.length)}`);
      return `Face ${track}: ${parts.join(", ")} of ${plural(points.length, "frame")}.`;
    });
    this.#summary.textContent = texts.join(" ");
  }

  /** The faces seen most, in the order of their numbers. */
  #shown() {
    return [...this.#tracks].sort((a, b) => b[1].length - a[1].length).slice(0, LANES).sort((a, b) => a[0] - b[0]);
  }

  get #range() {
    let [first, last] = [Infinity, -Infinity];
    for (const points of this.#tracks.values()) {
      first = Math.min(first, points[0].time);
      last = Math.max(last, points[points.length - 1].time);
    }
    if (this.#duration) [first, last] = [0, this.#duration];
    return { first, span: Math.max(last - first, this.#duration ? 0.001 : SHORTEST) };
  }

  #ask() {
    if (!this.#drawing) this.#drawing = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#drawing = 0;
    const shown = this.#shown();
    while (this.#lanes.children.length > shown.length) this.#lanes.lastChild?.remove();
    while (this.#lanes.children.length < shown.length) this.#lanes.append(this.#newLane());
    const { first, span } = this.#range;
    shown.forEach(([track, points], index) => {
      const lane = /** @type {HTMLElement} */ (this.#lanes.children[index]);
      lane.dataset.track = String(track);
      /** @type {HTMLElement} */ (lane.firstChild).textContent = `Face ${track}`;
      const slider = /** @type {HTMLElement} */ (lane.lastChild);
      const now = this.#at ?? points[points.length - 1].time;
      slider.setAttribute("aria-label", `Face ${track} over time`);
      slider.setAttribute("aria-valuemax", (first + span).toFixed(1));
      slider.setAttribute("aria-valuemin", first.toFixed(1));
      slider.setAttribute("aria-valuenow", now.toFixed(1));
      slider.setAttribute("aria-valuetext", describe(nearest(points, now)));
      this.#paint(/** @type {HTMLCanvasElement} */ (slider.firstChild), points, first, span);
    });
  }

  #newLane() {
    return h("div", { class: "lane" }, h("span", { class: "name" }), h("div", { class: "plot", role: "slider", tabindex: "0" }, h("canvas")));
  }

  /** @param {HTMLCanvasElement} canvas @param {Point[]} points @param {number} first @param {number} span */
  #paint(canvas, points, first, span) {
    const density = window.devicePixelRatio || 1;
    const width = canvas.parentElement?.clientWidth ?? 300;
    if (canvas.width !== Math.round(width * density)) Object.assign(canvas, { width: Math.round(width * density), height: LANE_HEIGHT * density });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, LANE_HEIGHT);
    const x = (/** @type {number} */ time) => Math.round(((time - first) / span) * width * density) / density;
    let drawn = -Infinity;
    for (let i = 0; i < points.length; i++) {
      const { time, row } = points[i];
      const next = points[i + 1];
      if (next && x(next.time) - drawn < 0.75) continue; // many frames on one pixel: the last of them is drawn
      drawn = x(time);
      const end = next && next.time - time < GAP ? x(next.time) : x(time) + Math.max(2, (0.05 / span) * width);
      let top = 0;
      for (const label of this.#classes) {
        const height = row.probabilities[label] * LANE_HEIGHT;
        context.fillStyle = color(label);
        context.fillRect(x(time), top, end - x(time), height + 0.3);
        top += height;
      }
    }
    if (this.#at !== null) {
      context.fillStyle = getComputedStyle(this).color;
      context.fillRect(x(this.#at) - 1, 0, 2, LANE_HEIGHT);
    }
  }

  /** @param {PointerEvent | MouseEvent} event */
  #point(event) {
    const lane = event.target instanceof Element ? event.target.closest(".lane") : null;
    if (!lane) return;
    this.#lane = [...this.#lanes.children].indexOf(lane);
    const plot = /** @type {HTMLElement} */ (lane.lastChild).getBoundingClientRect();
    const { first, span } = this.#range;
    this.#look(first + (Math.min(Math.max(event.clientX - plot.left, 0), plot.width) / plot.width) * span);
  }

  /** @param {number} time */
  #look(time) {
    const found = this.#shown()[this.#lane];
    if (!found) return;
    const point = nearest(found[1], time);
    this.#at = point.time;
    const lane = /** @type {HTMLElement} */ (this.#lanes.children[this.#lane]);
    const plot = /** @type {HTMLElement} */ (lane.lastChild);
    const { first, span } = this.#range;
    const left = plot.offsetLeft + ((point.time - first) / span) * plot.clientWidth;
    this.#tip.textContent = describe(point);
    this.#tip.hidden = false;
    this.#tip.style.top = `${lane.offsetTop}px`;
    this.#tip.style.left = `${Math.min(Math.max(left, 90), this.clientWidth - 90)}px`;
    this.#ask();
  }

  #leave() {
    this.#at = null;
    this.#tip.hidden = true;
    this.#ask();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const lane = event.target instanceof Element ? event.target.closest(".lane") : null;
    const step = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity })[event.key];
    if (!lane) return;
    this.#lane = [...this.#lanes.children].indexOf(lane);
    const points = this.#shown()[this.#lane][1];
    if (event.key === "Escape") this.#leave();
    if (event.key === "Enter" && this.#at !== null) this.dispatchEvent(new CustomEvent("seek", { detail: this.#at }));
    if (step === undefined) return;
    event.preventDefault();
    const place = this.#at === null ? points.length - 1 : points.indexOf(nearest(points, this.#at));
    this.#look(points[Math.min(Math.max(place + step, 0), points.length - 1)].time);
  }
}

/** @param {Point[]} points @param {number} time */
function nearest(points, time) {
  return points.reduce((best, point) => (Math.abs(point.time - time) < Math.abs(best.time - time) ? point : best));
}

/** @param {Point} point */
function describe({ time, row }) {
  const best = Object.entries(row.probabilities).sort((a, b) => b[1] - a[1]).slice(0, 2);
  return `${clock(time)}: ${best.map(([label, share]) => `${label} ${percent(share)}`).join(", ")}`;
}

customElements.define("mien-timeline", MienTimeline);
