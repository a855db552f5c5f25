/** What a user keeps: rows as CSV or JSON, the picture with its boxes, and the request as a command. */

import { color, ink, short, unsure } from "./words.js";

/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Model} Model */

const LANDMARKS = ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"];

/** @param {unknown} value */
function cell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * The columns and order of `mien predict --out faces.csv` (docs/reference/output.md), RFC 4180.
 * @param {(Row | {source: string, frame: number, error: string})[]} rows
 * @param {string[]} classes
 */
export function csv(rows, classes) {
  const known = ["source", "frame", "time_s", "face", "track", "x1", "y1", "x2", "y2", "score", "detector", ...LANDMARKS.flatMap((name) => [`${name}_x`, `${name}_y`]), "label", "confidence"];
  const columns = [...known, ...classes.map((name) => `p_${name}`), "error", "answer", "disagreement", "unsure", "note"];
  const lines = rows.map((each) => {
    const row = /** @type {any} */ (each);
    const [x1, y1, x2, y2] = row.box_xyxy ?? [];
    const points = (row.landmarks_xy ?? []).flat();
    const flat = /** @type {Record<string, unknown>} */ ({ ...row, x1, y1, x2, y2 });
    LANDMARKS.forEach((name, i) => Object.assign(flat, { [`${name}_x`]: points[2 * i], [`${name}_y`]: points[2 * i + 1] }));
    for (const name of classes) flat[`p_${name}`] = row.probabilities?.[name];
    return columns.map((name) => cell(flat[name])).join(",");
  });
  return [columns.join(","), ...lines, ""].join("\r\n");
}

/**
 * The picture with a box and a tag on each face.
 * @param {HTMLCanvasElement} frame
 * @param {{width: number, height: number}} size  of the picture that the boxes refer to
 * @param {Row[]} rows
 * @returns {Promise<Blob>}
 */
export function png(frame, size, rows) {
  const canvas = document.createElement("canvas");
  const factor = Math.max(1, Math.ceil(640 / frame.width));
  canvas.width = frame.width * factor;
  canvas.height = frame.height * factor;
  const scale = canvas.width / size.width;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(frame, 0, 0, canvas.width, canvas.height);
  for (const row of rows) drawFace(context, row, scale);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("This browser could not make a PNG."))), "image/png"));
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Row} row
 * @param {number} scale
 */
function drawFace(context, row, scale) {
  const [x1, y1, x2, y2] = row.box_xyxy.map((value) => value * scale);
  const size = Math.min(Math.max((x2 - x1) / 7, 13), 40);
  const [paint, text] = unsure(row) ? ["#ffffff", "#101114"] : [color(row.label), ink(row.label)];
  context.lineWidth = Math.max(2, size / 7);
  context.strokeStyle = paint;
  context.setLineDash(unsure(row) ? [size / 2, size / 3] : []);
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const words = short(row);
  const width = context.measureText(words).width + size * 0.7;
  const left = Math.max(0, Math.min(x1 - context.lineWidth / 2, context.canvas.width - width));
  const top = y1 - size * 1.45 >= 0 ? y1 - size * 1.45 : Math.min(y2, context.canvas.height - size * 1.45);
  context.fillStyle = paint;
  context.fillRect(left, top, width, size * 1.45);
  context.fillStyle = text;
  context.textBaseline = "middle";
  context.fillText(words, left + size * 0.35, top + size * 0.75);
}

/** @param {string} text  quoted for a POSIX shell */
const shell = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;

/** @param {string} name  a path that no command takes for an option */
const path = (name) => (name.startsWith("-") ? `./${name}` : name);

/**
 * The request just made, as a command and as Python.
 * @param {{mode: "server" | "device", name: string, type: string, url: string, model: string, minFace: number | null,
 *   minScore: number | null, choice: import("./types.js").Choice}} request  null: the default
 * @returns {{curl: string, python: string}}
 */
export function snippets({ mode, name, type, url, model, minFace, minScore, choice }) {
  const file = path(name);
  if (mode === "device") {
    const { answer, prior, strength } = choice;
    const asked = { min_face: minFace, answer, prior, prior_strength: prior && strength < 1 ? strength : null };
    const given = Object.entries(asked).filter(([, value]) => value !== null);
    const options = [...given, ...(minScore === null ? [] : [["min_score", minScore]])].map(([key, value]) => ` --${String(key).replaceAll("_", "-")} ${value}`).join("");
    // A Recognizer takes a detector's score with the detector.
    const detector = minScore === null ? "" : `, detector=make_detector("yunet", ${minFace === null ? "" : `min_face=${minFace}, `}min_score=${minScore})`;
    const named = given.filter(([key]) => !(detector && key === "min_face")).map(([key, value]) => `, ${key}=${JSON.stringify(value)}`).join("");
    return {
      curl: `mien predict ${shell(file)} --model ${shell(model)}${options} --json`,
      python: `from mien import Recognizer\n${detector && "from mien.detect import make_detector\n"}\nfor reading in Recognizer(${JSON.stringify(model)}${detector}${named}).read(${JSON.stringify(file)}):\n    print(reading.face.box_xyxy, reading.expression.label, reading.expression.confidence)\n`,
    };
  }
  const kind = type || "application/octet-stream";
  return {
    curl: `curl --data-binary ${shell(`@${file}`)} -H ${shell(`Content-Type: ${kind}`)} ${shell(url)}`,
    python: `import requests\n\nwith open(${JSON.stringify(file)}, "rb") as picture:\n    answer = requests.post(${JSON.stringify(url)}, data=picture, headers={"Content-Type": ${JSON.stringify(kind)}})\nanswer.raise_for_status()\nfor face in answer.json()["pictures"][0]["faces"]:\n    print(face["label"], face["confidence"], face["box_xyxy"])\n`,
  };
}
