/** The page: takes pictures, has them read, and shows what was read. */

import { DeviceReader } from "./device_reader.js";
import { automaticMinFace as automatic } from "./detector.js";
import { $, h, say, save } from "./dom.js";
import "./faces.js";
import { csv, png, snippets } from "./keep.js";
import { Live } from "./live.js";
import "./picture.js";
import { ServerReader, readUrl } from "./server_reader.js";
import "./timeline.js";
import { DEFAULT_SCORE, answerTitle, percent, plural } from "./words.js";

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Row} Row */
/** @typedef {import("./types.js").Reader} Reader */

const THUMBNAIL = 112;

/** @type {import("./types.js").Site} */
const site = await (await fetch("site.json")).json();

const readers = /** @type {Record<string, Reader>} */ ({});
if (site.server) readers.server = new ServerReader(say, askToken);
if (site.device) readers.device = new DeviceReader(site.device, showLoading);

const state = {
  reader: readers.server ?? readers.device,
  pictures: /** @type {Picture[]} */ ([]),
  current: /** @type {Picture | null} */ (null),
  selected: /** @type {number | null} */ (null),
  minFace: /** @type {number | null} */ (null),
  minScore: DEFAULT_SCORE,
  choice: /** @type {import("./types.js").Choice} */ ({ answer: null, prior: null, strength: 1 }),
  live: /** @type {Live | null} */ (null),
  liveAnswer: /** @type {Answer | null} */ (null),
  busy: false,
};

// --- modes ---------------------------------------------------------------------------------------------------------

/** @param {string} mode */
function setMode(mode) {
  state.reader = readers[mode] ?? state.reader;
  for (const radio of document.querySelectorAll("input[name=mode]")) {
    const input = /** @type {HTMLInputElement} */ (radio);
    input.checked = input.value === state.reader.mode;
    /** @type {HTMLElement} */ (input.closest("label")).hidden = !readers[input.value];
  }
  $("modes").hidden = false;
  $("mode-note").textContent =
    state.reader.mode === "device"
      ? "Pictures stay in this browser. Nothing is sent."
      : `Pictures go to ${location.host} to be read. They are not stored.`;
  $("trials").hidden = true;
  showModel();
  if (state.reader instanceof DeviceReader) {
    state.reader.ready().then(keepOffline, (error) => say(error.message, true));
  }
}

/** What the reader's model can be asked for, and what runs beside it. */
function showModel() {
  showChoices();
  if (state.reader instanceof ServerReader) showTrials(state.reader);
}

/** @param {ServerReader} reader */
async function showTrials(reader) {
  const text = await reader.trials();
  $("trials").textContent = text;
  $("trials").hidden = !text || state.reader !== reader;
}

/** Offer what the model can be asked for; what it cannot give is taken back. */
async function showChoices() {
  const { reader } = state;
  const kinds = await reader.answers();
  if (state.reader !== reader) return;
  const known = kinds.some(({ name }) => name === state.choice.answer);
  if (!known) state.choice.answer = null;
  $("answer").replaceChildren(...kinds.map(({ name, meaning }, index) => h("option", { value: index ? (name ?? "") : "", title: meaning, text: answerTitle(name) })));
  $("answer").value = state.choice.answer ?? "";
  const leans = kinds.some(({ hasPrior }) => hasPrior);
  if (!leans) Object.assign(state.choice, { prior: null, strength: 1 });
  const prior = kinds[0]?.prior ?? "training";
  $("prior").options[0].textContent = prior === "training" ? "As common as in training" : `As set here: ${prior}`;
  $("prior").value = state.choice.prior ? String(state.choice.strength) : "0";
  for (const [id, hidden] of Object.entries({ answer: kinds.length < 2, prior: !leans })) document.querySelector(`label[for=${id}]`)?.toggleAttribute("hidden", ($(id).hidden = hidden));
  $("ask").hidden = kinds.length < 2 && !leans;
}

/** Read everything again as was chosen. */
function changeChoice() {
  const strength = Number($("prior").value);
  state.choice = { answer: $("answer").value || null, prior: strength ? "even" : null, strength: strength || 1 };
  readAgain();
}

function readAgain() {
  for (const picture of state.pictures) picture.status = "waiting";
  work();
}

/**
 * Ask the visitor for the server's token.
 * @param {boolean} again  the one before was wrong
 * @returns {Promise<string>}  "" where there is none
 */
function askToken(again) {
  $("token-title").textContent = again ? "The server did not take that token" : "This server wants a token";
  $("token-text").value = "";
  $("token").showModal();
  return new Promise((resolve) => {
    $("token-send").onclick = () => $("token").close($("token-text").value.trim());
    $("token-cancel").onclick = () => $("token").close("");
    $("token-text").onkeydown = (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && $("token-send").click();
    $("token").onclose = () => resolve($("token").returnValue);
    $("token").returnValue = "";
  });
}

/** Keep the device mode's files for when there is no network. */
function keepOffline() {
  navigator.serviceWorker?.ready.then((worker) => worker.active?.postMessage({ keep: site.device_files }));
}

/** @param {boolean} loading */
function showLoading(loading) {
  $("progress").hidden = !loading;
}

// --- pictures ------------------------------------------------------------------------------------------------------

/** @param {Iterable<File>} files */
function add(files) {
  const all = [...files];
  const video = all.find((file) => file.type.startsWith("video/"));
  if (video) return void startVideo(video);
  stopLive();
  leaveFrames();
  const added = all.map((file) => newPicture(file, file.name || "pasted.png"));
  if (!added.length) return;
  state.pictures.push(...added);
  choose(added[0]);
  work();
}

let count = 0;

/** @param {Blob} file @param {string} name @returns {Picture} */
function newPicture(file, name) {
  return { id: count++, name, file, status: "waiting", width: 0, height: 0, rows: [], error: null, model: null, ms: 0, minFace: null, choice: state.choice, mode: state.reader?.mode ?? "device", thumbnail: null };
}

/** Read what waits, the chosen picture first. */
async function work() {
  if (state.busy) return;
  state.busy = true;
  for (;;) {
    const waiting = state.pictures.filter((each) => each.status === "waiting");
    const next = waiting.find((each) => each === state.current) ?? waiting[0];
    if (!next) break;
    await readOne(next);
    if (next === state.current) render();
    drawStrip();
    if (waiting.length > 1) say(`${plural(waiting.length - 1, "picture")} to go`, true);
    else if (state.pictures.length > 1) summarize();
  }
  state.busy = false;
}

function summarize() {
  const failed = state.pictures.filter((each) => each.status === "failed").length;
  const faces = state.pictures.reduce((sum, each) => sum + shown(each.rows).length, 0);
  say(`${plural(state.pictures.length - failed, "picture")} read, ${plural(faces, "face")}${failed ? `; ${failed} could not be read` : ""}`);
}

/** @param {Picture} picture */
async function readOne(picture) {
  const { reader, minFace, choice } = state;
  if (!reader) return void (picture.status = "failed");
  picture.status = "reading";
  picture.mode = reader.mode;
  Object.assign(picture, { minFace, choice });
  const again = () => picture.status !== "reading"; // something else was chosen meanwhile
  try {
    const answer = await reader.read(picture.file, picture.name, { minFace, choice });
    if (again()) return;
    if (reader instanceof ServerReader && !reader.told) showModel(); // it wanted its token first
    Object.assign(picture, { status: "done", width: answer.width, height: answer.height, rows: answer.rows, model: answer.model, ms: answer.ms, error: null });
    if (picture === state.current) announce(picture);
    picture.thumbnail ??= await createImageBitmap(picture.file).then(thumbnail, () => null);
  } catch (error) {
    if (again()) return;
    Object.assign(picture, { status: "failed", rows: [], error: /** @type {Error} */ (error).message });
    if (picture === state.current) say(`${picture.name}: ${picture.error}`, true);
  }
}

/** @param {Picture} picture */
function announce(picture) {
  say(`${picture.name}: ${picture.rows.length ? plural(picture.rows.length, "face") : "no face found"}, ${Math.round(picture.ms)} ms`);
}

/** Show a picture; read it when its turn comes. @param {Picture} picture */
async function choose(picture) {
  state.current = picture;
  state.selected = null;
  render();
  drawStrip();
  const bitmap = await createImageBitmap(picture.file, { colorSpaceConversion: "none" }).catch(() => null);
  if (bitmap) {
    if (!picture.width) Object.assign(picture, { width: bitmap.width, height: bitmap.height });
    picture.thumbnail ??= thumbnail(bitmap);
  }
  if (state.current === picture) {
    shownBitmap?.close();
    shownBitmap = bitmap;
    shownOf = picture;
    render();
    drawStrip();
  } else bitmap?.close();
}

let shownBitmap = /** @type {ImageBitmap | null} */ (null);
let shownOf = /** @type {Picture | null} */ (null);

/** @param {ImageBitmap} bitmap */
function thumbnail(bitmap) {
  const scale = THUMBNAIL / Math.max(bitmap.width, bitmap.height);
  const canvas = h("canvas", { width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)), "aria-hidden": "true" });
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function drawStrip() {
  $("strip").hidden = state.pictures.length < 2 || state.live !== null;
  const list = $("strip").querySelector("ul");
  while (list.children.length > state.pictures.length) list.lastChild.remove();
  state.pictures.forEach((picture, index) => {
    const item = list.children[index] ?? list.appendChild(h("li", {}, h("button", { type: "button" })));
    const button = item.firstChild;
    const result = { waiting: "waiting", reading: "reading", failed: "cannot be read", done: plural(shown(picture.rows).length, "face") }[picture.status];
    button.onclick = () => choose(picture);
    button.className = picture.status;
    button.setAttribute("aria-current", String(picture === state.current));
    button.replaceChildren(...(picture.thumbnail ? [picture.thumbnail] : [h("span", { class: "blank" })]), h("span", { class: "name", text: picture.name }), h("small", { text: result }));
  });
}

// --- what is shown -------------------------------------------------------------------------------------------------

/** Those that pass the sliders. @param {Row[]} rows */
function shown(rows) {
  return rows.filter((row) => {
    const [x1, y1, x2, y2] = row.box_xyxy;
    return row.score >= state.minScore - 1e-9 && (state.minFace === null || Math.max(x2 - x1, y2 - y1) >= state.minFace);
  });
}


function render() {
  const { current, live, liveAnswer } = state;
  const some = Boolean(current || live || liveAnswer);
  document.body.classList.toggle("empty", !some);
  for (const [id, hidden] of Object.entries({ drop: some, picture: !some, side: !some, tools: !some, clear: !some || live, timeline: !live && !$("timeline").rows().length })) $(id).hidden = hidden;
  if (liveAnswer) return renderFaces(liveAnswer.rows, liveAnswer.model, null, liveAnswer.width, liveAnswer.height);
  if (!current) return;
  const bitmap = shownOf === current ? shownBitmap : null;
  const { width, height, status } = current;
  $("picture").hidden = !width; // of a file that is no picture there is nothing to show, least of all the one before
  if (width) $("picture").show(bitmap, width, height, `${current.name}, ${width} × ${height}`);
  const note = bitmap || status !== "done" || shownOf !== current ? null : " This browser cannot show the picture; the boxes are right.";
  if (note) say(note, true);
  const message = { waiting: "Waiting…", reading: "Reading…", failed: current.error, done: null }[status];
  renderFaces(current.rows, current.model, message, width || 1, height || 1);
}

/**
 * @param {Row[]} rows
 * @param {import("./types.js").Model | null} model
 * @param {string | null} message
 * @param {number} width
 * @param {number} height
 */
function renderFaces(rows, model, message, width, height) {
  const visible = shown(rows);
  if (!visible.some((row) => row.face === state.selected)) state.selected = visible[0]?.face ?? null;
  $("picture").mark(visible, state.selected);
  $("faces").show(visible, rows.length - visible.length, state.selected, model, message);
  const least = state.minFace ?? Math.round(state.liveAnswer ? Math.max(20, state.reader.liveMinFace * Math.max(width, height)) : automatic(width, height));
  if (document.activeElement !== $("min-face")) $("min-face").value = least;
  $("min-face-value").textContent = `${least} px`;
  $("min-score-value").textContent = percent(state.minScore);
  const mode = state.liveAnswer ? state.reader.mode : state.current?.mode;
  $("model").textContent = model
    ? `Read ${mode === "device" ? "on this device" : "on the server"} by the model ${model.name}${model.version ? `, version ${model.version}` : ""} (${model.sha256.slice(0, 12)})${model.answer ? `, answer ${model.answer}` : ""}${model.prior && model.prior !== "training" ? `, prior ${model.prior}` : ""}${state.current?.ms && !state.live ? `, in ${Math.round(state.current.ms)} ms` : ""}.`
    : "";
}

/** @param {number} face */
function select(face) {
  state.selected = face;
  $("picture").select(face);
  $("faces").select(face);
}

// --- camera and video ----------------------------------------------------------------------------------------------

function askForCamera() {
  $("notice-where").textContent =
    state.reader.mode === "device" ? "The camera's pictures stay in this browser. Nothing is sent or stored." : `The camera's pictures go to ${location.host} to be read. They are not stored.`;
  $("notice").showModal();
}

async function startCamera() {
  $("notice").close();
  if (!navigator.mediaDevices?.getUserMedia) return say("This browser gives the camera only to pages from https:// or from this computer.", true);
  const video = newVideo();
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ audio: false, video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" } });
  } catch (error) {
    const name = /** @type {DOMException} */ (error).name;
    const why = { NotAllowedError: "The browser was told not to open it.", NotFoundError: "There is none.", NotReadableError: "Another program uses it." }[name] ?? name;
    return say(`The camera did not open. ${why}`, true);
  }
  startLive(video, "camera", "camera");
}

/** @param {File} file */
async function startVideo(file) {
  const video = newVideo();
  video.src = URL.createObjectURL(file);
  const opened = await new Promise((resolve) => {
    video.onloadeddata = () => resolve(true);
    video.onerror = () => resolve(false);
  });
  if (!opened) return say(`${file.name}: this browser cannot play it. Try MP4 (H.264) or WebM.`, true);
  startLive(video, file.name, "video");
}

function newVideo() {
  const video = h("video", { playsinline: true });
  video.muted = true;
  return video;
}

/** @param {HTMLVideoElement} video @param {string} name @param {"camera" | "video"} kind */
function startLive(video, name, kind) {
  stopLive();
  state.current = null;
  state.selected = null;
  $("timeline").reset(kind === "video" && Number.isFinite(video.duration) ? video.duration : 0);
  state.live = new Live(video, {
    name, kind,
    reader: () => state.reader,
    minFace: () => state.minFace,
    choice: () => state.choice,
    frame: showFrame,
    failed: (error, final) => {
      if (final) stopLive();
      say(error.message, true);
    },
    ended: () => {
      $("timeline").summarize();
      $("pause").textContent = "Play again";
    },
  });
  $("pause").textContent = "Pause";
  for (const [id, hidden] of Object.entries({ stop: false, pause: kind === "camera", choose: true, camera: true, strip: true })) $(id).hidden = hidden;
  $("stop").textContent = kind === "camera" ? "Stop the camera" : "Close the video";
  render();
  video.play().catch((error) => say(`The video does not play: ${error.message}`, true));
  say(kind === "camera" ? "The camera is on." : `Reading ${name}.`);
}

/** @param {Answer} answer @param {number} time */
function showFrame(answer, time) {
  state.liveAnswer = { ...answer, bitmap: undefined };
  if (answer.bitmap) $("picture").show(answer.bitmap, answer.width, answer.height, state.live?.plan.name ?? "");
  $("timeline").add(answer.rows, time, answer.model.classes);
  render();
  const parts = answer.parts ? `, detector ${Math.round(answer.parts.detect)} ms, expressions ${Math.round(answer.parts.classify)} ms` : "";
  $("speed").textContent = `${(state.live?.rate ?? 0).toFixed(0)} frames/s${parts}`;
}

function stopLive() {
  if (!state.live) return;
  state.live.stop();
  $("timeline").summarize();
  const last = state.liveAnswer;
  state.live = null;
  for (const [id, hidden] of Object.entries({ stop: true, pause: true, choose: false, camera: false })) $(id).hidden = hidden;
  $("speed").textContent = "";
  say("Stopped.");
  if (last) render();
  else reset();
}

function togglePlay() {
  const video = state.live?.video;
  if (!video) return;
  if (video.paused) video.play();
  else video.pause();
  $("pause").textContent = video.paused ? "Play" : "Pause";
}

/** Leave the last frame of a camera or a video. */
function leaveFrames() {
  state.liveAnswer = null;
  $("timeline").reset(0);
}

function reset() {
  stopLive();
  leaveFrames();
  Object.assign(state, { pictures: [], current: null, selected: null });
  render();
  drawStrip();
  $("choose").focus();
}

// --- keeping -------------------------------------------------------------------------------------------------------

function everyRow() {
  if (state.liveAnswer) return { rows: shown($("timeline").rows()), classes: state.liveAnswer.model.classes };
  const rows = state.pictures.flatMap((each) => (each.error !== null ? [/** @type {any} */ ({ source: each.name, frame: 0, error: each.error })] : shown(each.rows)));
  return { rows, classes: state.pictures.find((each) => each.model)?.model?.classes ?? [] };
}

function keepName() {
  return (state.live?.plan.name ?? state.current?.name ?? "mien").replace(/\.[^.]+$/, "") || "mien";
}

const keepers = /** @type {Record<string, () => unknown>} */ ({
  "save-csv": () => {
    const { rows, classes } = everyRow();
    save(new Blob([csv(rows, classes)], { type: "text/csv" }), "faces.csv");
  },
  "save-json": () => save(new Blob([JSON.stringify(everyRow().rows, null, 2)], { type: "application/json" }), "faces.json"),
  "save-png": async () => {
    const rows = shown(state.liveAnswer?.rows ?? state.current?.rows ?? []);
    save(await png($("picture").canvas, $("picture").size, rows), `${keepName()}-faces.png`);
  },
  "copy-curl": () => copy("curl"),
  "copy-python": () => copy("python"),
});

/** @param {"curl" | "python"} kind */
async function copy(kind) {
  const { current, minFace } = state;
  const choice = current?.choice ?? state.choice;
  const minScore = state.minScore === DEFAULT_SCORE ? null : state.minScore;
  const model = current?.model ?? state.liveAnswer?.model;
  const mode = current?.mode ?? state.reader.mode;
  const text = snippets({ mode, name: current?.name ?? "frame.jpg", type: current?.file.type ?? "image/jpeg", url: readUrl({ minFace, minScore, choice }), model: model?.name ?? "default", minFace, minScore, choice })[kind];
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied: ${text.split("\n")[0]}${text.includes("\n") ? " …" : ""}`);
  } catch {
    $("snippet").querySelector("pre").textContent = text;
    $("snippet").showModal();
  }
}

// --- wiring --------------------------------------------------------------------------------------------------------

function wire() {
  $("choose").onclick = () => $("files").click();
  $("files").onchange = () => {
    add($("files").files);
    $("files").value = "";
  };
  $("camera").onclick = askForCamera;
  $("notice-open").onclick = startCamera;
  $("notice-cancel").onclick = () => $("notice").close();
  $("snippet").querySelector("button").onclick = () => $("snippet").close();
  $("stop").onclick = stopLive;
  $("pause").onclick = togglePlay;
  $("clear").onclick = reset;
  for (const [id, keep] of Object.entries(keepers)) $(id).onclick = () => Promise.resolve(keep()).catch((error) => say(error.message, true));
  for (const id of ["picture", "faces"]) $(id).addEventListener("face", (/** @type {CustomEvent} */ event) => select(event.detail));
  $("timeline").addEventListener("seek", (/** @type {CustomEvent} */ event) => {
    if (state.live?.plan.kind === "video") state.live.video.currentTime = event.detail;
  });
  for (const id of ["answer", "prior"]) $(id).onchange = changeChoice;
  wireSliders();
  wireDrops();
  for (const radio of document.querySelectorAll("input[name=mode]")) radio.addEventListener("change", () => changeMode(/** @type {HTMLInputElement} */ (radio).value));
  addEventListener("pagehide", () => state.live?.stop());
}

function wireSliders() {
  $("min-face").oninput = () => {
    state.minFace = Number($("min-face").value);
    render();
    drawStrip();
  };
  $("min-face").onchange = () => {
    // A face smaller than was looked for needs another look; the others only a filter.
    for (const picture of state.pictures) {
      if (picture.status === "done" && Number(state.minFace) < (picture.minFace ?? automatic(picture.width, picture.height))) picture.status = "waiting";
    }
    work();
  };
  $("min-score").oninput = () => {
    state.minScore = Number($("min-score").value) / 100;
    render();
    drawStrip();
  };
}

function wireDrops() {
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.add("dragging");
    });
  }
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer?.files.length) add(event.dataTransfer.files);
    else say("That is no file. Drop pictures or a video.");
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => /^(image|video)\//.test(file.type));
    if (!files.length) return say("There is no picture on the clipboard.");
    add(files);
  });
}

/** @param {string} mode */
function changeMode(mode) {
  localStorage.setItem("mode", mode);
  setMode(mode);
  readAgain();
}

function showSamples() {
  for (const sample of site.samples) {
    const button = h("button", { type: "button", onclick: () => addSample(sample) }, h("img", { src: sample.file, alt: sample.alt, loading: "lazy" }), h("span", { text: sample.title }));
    $("samples").append(button);
  }
}

/** @param {{file: string}} sample */
async function addSample({ file }) {
  const response = await fetch(file).catch(() => null);
  if (!response?.ok) return say("The sample is not there.");
  add([new File([await response.blob()], file.split("/").pop() ?? file, { type: "image/jpeg" })]);
}

wire();
showSamples();
render();
$("about").textContent = `mien ${site.version}. The page loads nothing from anywhere else.`;
if (!state.reader) say("This page has no server, and not the files to read on this device: run `make web` where it was made.", true);
else setMode(readers[localStorage.getItem("mode") ?? ""] ? /** @type {string} */ (localStorage.getItem("mode")) : state.reader.mode);
document.documentElement.dataset.ready = "true";
navigator.serviceWorker?.register("sw.js").catch(() => undefined);
