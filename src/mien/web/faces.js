/** `<mien-faces>`: the table beside the picture, and every class of the chosen face. */

import { h } from "./dom.js";
import { color, measure, percent, plural, ranked, sentence, unsure } from "./words.js";

/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Model} Model */

export class MienFaces extends HTMLElement {
  #title = h("h2");
  #body = h("tbody");
  #table = h(
    "table",
    {},
    h("caption", { class: "hidden-text", text: "Faces in this picture" }),
    h("thead", {}, h("tr", {}, ...["Face", "Expression", "Detector"].map((text) => h("th", { scope: "col", text })))),
    this.#body,
  );
  #detail = h("div", { class: "detail" });
  #name = h("h3");
  #sentence = h("p");
  #measure = h("caption");
  /** @type {{bar: HTMLElement, number: HTMLElement}[]} */
  #classes = [];
  #order = "";
  /** @type {Row[]} */
  #rows = [];
  /** @type {number | null} */
  #selected = null;
  /** @type {Model | null} */
  #model = null;

  connectedCallback() {
    this.replaceChildren(this.#title, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of faces" }, this.#table), this.#detail);
  }

  /**
   * @param {Row[]} rows  those shown
   * @param {number} hidden  how many the filters leave out
   * @param {number | null} selected
   * @param {Model | null} model
   * @param {string | null} message  instead of a table: an error, or what is going on
   */
  show(rows, hidden, selected, model, message) {
    this.#rows = rows;
    this.#model = model;
    this.#title.textContent = message ?? (rows.length ? plural(rows.length, "face") : "No face found");
    if (!message && hidden) this.#title.append(h("small", { text: ` ${hidden} hidden` }));
    this.#table.hidden = !rows.length || message !== null;
    while (this.#body.rows.length > rows.length) this.#body.deleteRow(-1);
    while (this.#body.rows.length < rows.length) this.#body.append(this.#line());
    rows.forEach((row, index) => this.#fill(this.#body.rows[index], row));
    this.select(selected);
  }

  /** @param {number | null} face */
  select(face) {
    this.#selected = face;
    for (const line of this.#body.rows) line.classList.toggle("selected", line.dataset.face === String(face));
    for (const line of this.#body.rows) line.querySelector("button")?.setAttribute("aria-pressed", String(line.dataset.face === String(face)));
    const row = this.#rows.find((each) => each.face === face);
    this.#detail.hidden = !row;
    if (row) this.#describe(row);
  }

  get selected() {
    return this.#selected;
  }

  #line() {
    const line = h("tr", {}, h("td", {}, h("button", { type: "button", class: "face" })), h("td", {}, h("span", { class: "label" }), h("span", { class: "meter", "aria-hidden": "true" }, h("i"))), h("td", { class: "number" }));
    const tell = () => this.dispatchEvent(new CustomEvent("face", { detail: Number(line.dataset.face) }));
    for (const event of ["click", "pointerenter", "focusin"]) line.addEventListener(event, tell);
    return line;
  }

  /** @param {HTMLTableRowElement} line @param {Row} row */
  #fill(line, row) {
    line.dataset.face = String(row.face);
    const [first, second] = ranked(row);
    const button = /** @type {HTMLElement} */ (line.querySelector("button"));
    button.replaceChildren(h("span", { class: "hidden-text", text: "Face " }), String(row.face + 1));
    button.style.setProperty("--color", unsure(row) ? "transparent" : color(row.label));
    const label = /** @type {HTMLElement} */ (line.querySelector(".label"));
    const text = unsure(row) && second ? [h("b", { text: "not sure" }), ` ${first[0]} ${percent(first[1])}, ${second[0]} ${percent(second[1])}`] : [h("b", { text: first[0] }), ` ${percent(first[1])}`];
    label.replaceChildren(...text);
    const bar = /** @type {HTMLElement} */ (line.querySelector("i"));
    bar.style.width = `${first[1] * 100}%`;
    bar.style.background = unsure(row) ? "" : color(first[0]);
    line.cells[2].textContent = percent(row.score);
  }

  /** @param {Row} row */
  #describe(row) {
    const order = this.#model?.classes.length ? this.#model.classes : Object.keys(row.probabilities);
    if (this.#order !== order.join()) this.#layOut(order);
    this.#name.textContent = `Face ${row.face + 1}`;
    this.#sentence.textContent = sentence(row, this.#model);
    this.#measure.textContent = measure(this.#model);
    order.forEach((label, index) => {
      const { bar, number } = this.#classes[index];
      bar.style.width = `${row.probabilities[label] * 100}%`;
      number.textContent = percent(row.probabilities[label]);
    });
  }

  /** @param {string[]} order */
  #layOut(order) {
    this.#order = order.join();
    this.#classes = order.map((label) => ({ bar: h("i", { style: { background: color(label) } }), number: h("td", { class: "number" }) }));
    const lines = this.#classes.map(({ bar, number }, index) =>
      h("tr", {}, h("th", { scope: "row", text: order[index] }), h("td", {}, h("span", { class: "meter", "aria-hidden": "true" }, bar)), number),
    );
    this.#detail.replaceChildren(this.#name, this.#sentence, h("table", { class: "classes" }, this.#measure, h("tbody", {}, ...lines)));
  }
}

customElements.define("mien-faces", MienFaces);
