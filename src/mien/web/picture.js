/** `<mien-picture>`: the frame that was read, with a box, a tag and bars on each face. */

import { h } from "./dom.js";
import { color, ink, percent, ranked, short, unsure } from "./words.js";

/** @typedef {import("./types.js").Row} Row */

/** With so many faces or fewer, each shows its bars; with more, only the chosen one. */
const FEW = 3;
const BARS = 3;

export class MienPicture extends HTMLElement {
  #canvas = h("canvas", { role: "img" });
  #boxes = h("div", { class: "boxes" });
  #caption = h("p", { class: "caption" });
  /** @type {HTMLButtonElement[]} */
  #buttons = [];

  connectedCallback() {
    this.replaceChildren(h("div", { class: "frame" }, this.#canvas, this.#boxes), this.#caption);
  }

  /**
   * Show a frame. Without a picture that the browser can draw, its size is kept and the boxes stand on gray.
   * @param {CanvasImageSource | null} source
   * @param {number} width
   * @param {number} height
   * @param {string} caption
   */
  show(source, width, height, caption) {
    const shrink = Math.min(1, 4096 / Math.max(width, height, 1));
    const [w, h_] = [Math.max(1, Math.round(width * shrink)), Math.max(1, Math.round(height * shrink))];
    if (this.#canvas.width !== w || this.#canvas.height !== h_) Object.assign(this.#canvas, { width: w, height: h_ });
    const context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d"));
    if (source) context.drawImage(source, 0, 0, w, h_);
    else {
      context.fillStyle = "#888";
      context.fillRect(0, 0, w, h_);
    }
    this.style.setProperty("--ratio", String(width / height));
    this.size = { width, height };
    this.#caption.textContent = caption;
  }

  /**
   * Draw these faces, and no others.
   * @param {Row[]} rows
   * @param {number | null} selected  `face` of the chosen row
   */
  mark(rows, selected) {
    const { width, height } = this.size ?? { width: 1, height: 1 };
    while (this.#buttons.length > rows.length) this.#buttons.pop()?.remove();
    while (this.#buttons.length < rows.length) this.#buttons.push(this.#boxes.appendChild(this.#button()));
    rows.forEach((row, index) => this.#fill(this.#buttons[index], row, width, height));
    this.#boxes.classList.toggle("few", rows.length <= FEW);
    this.#canvas.setAttribute("aria-label", rows.length === 1 ? "Picture with one face" : `Picture with ${rows.length || "no"} faces`);
    this.select(selected);
  }

  /** @param {number | null} face */
  select(face) {
    for (const button of this.#buttons) button.setAttribute("aria-pressed", String(button.dataset.face === String(face)));
  }

  /** @returns {HTMLCanvasElement} */
  get canvas() {
    return this.#canvas;
  }

  #button() {
    const button = h("button", { type: "button", class: "box" }, h("span", { class: "hidden-text" }), h("span", { class: "tag" }), h("span", { class: "bars", "aria-hidden": "true" }));
    const tell = () => this.dispatchEvent(new CustomEvent("face", { detail: Number(button.dataset.face) }));
    for (const event of ["click", "focus", "pointerenter"]) button.addEventListener(event, tell);
    return button;
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {Row} row
   * @param {number} width
   * @param {number} height
   */
  #fill(button, row, width, height) {
    const [x1, y1, x2, y2] = row.box_xyxy;
    const [left, top] = [Math.max(x1, 0), Math.max(y1, 0)];
    const style = button.style;
    style.left = `${(left / width) * 100}%`;
    style.top = `${(top / height) * 100}%`;
    style.width = `${((Math.min(x2, width) - left) / width) * 100}%`;
    style.height = `${((Math.min(y2, height) - top) / height) * 100}%`;
    style.setProperty("--color", unsure(row) ? "#ffffff" : color(row.label));
    style.setProperty("--ink", unsure(row) ? "#101114" : ink(row.label));
    button.dataset.face = String(row.face);
    button.classList.toggle("unsure", unsure(row));
    button.classList.toggle("right", (x1 + x2) / 2 > width * 0.6);
    button.classList.toggle("low", y1 / height < 0.09);
    button.classList.toggle("middle", (x1 + x2) / 2 > width * 0.25 && (x1 + x2) / 2 < width * 0.75);
    const [name, tag, bars] = /** @type {[HTMLElement, HTMLElement, HTMLElement]} */ (/** @type {unknown} */ (button.children));
    name.textContent = `Face ${row.face + 1}: `;
    tag.textContent = unsure(row) ? "not sure" : short(row);
    const best = ranked(row).slice(0, BARS);
    while (bars.children.length > best.length) bars.lastChild?.remove();
    while (bars.children.length < best.length) bars.append(h("span", {}, h("i"), h("b")));
    best.forEach(([label, share], index) => {
      const [fill, text] = /** @type {[HTMLElement, HTMLElement]} */ (/** @type {unknown} */ (bars.children[index].children));
      fill.style.width = `${share * 100}%`;
      fill.style.background = color(label);
      text.textContent = `${label} ${percent(share)}`;
    });
  }
}

customElements.define("mien-picture", MienPicture);
