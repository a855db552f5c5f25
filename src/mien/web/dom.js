/** Elements without HTML strings: nothing that a file is called can become markup. */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [properties]  attributes; `on...` are listeners; `style` is an object; `class` and `text` as said
 * @param {...(Node | string | null)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (name === "style") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, String(v));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * The element with this id.
 * @param {string} id
 * @returns {any}
 */
export const $ = (id) => document.getElementById(id);

/**
 * Give a file to keep.
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

let clearing = 0;

/**
 * Say something to everybody, screen readers too, without stealing the focus.
 * @param {string} text
 * @param {boolean} [lasting]  stays until the next
 */
export function say(text, lasting = false) {
  const status = $("status");
  clearTimeout(clearing);
  status.textContent = text;
  status.classList.toggle("shown", Boolean(text));
  if (text && !lasting) clearing = setTimeout(() => status.classList.remove("shown"), 5000);
}
