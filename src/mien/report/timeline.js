"use strict";
(() => {
  const data = JSON.parse(document.getElementById("timeline-data").textContent);
  const root = document.getElementById("timeline");
  const find = (selector) => document.querySelector(selector);
  const ticks = find(".ticks"), map = find(".map i"), cursor = find(".cursor"), band = find(".band"), tip = find(".tip");
  const classes = data.classes.length, whole = Math.max(data.end - data.start, 1e-9);
  const shortest = Math.min(whole, Math.max(1, 8 * data.step));
  let from = data.start, to = data.end, version = 0, queued = false;
  let chosen = 0, at = data.start;

  // --- the data ------------------------------------------------------------------------------------------------------

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const times = (text) => Float64Array.from(new Uint32Array(bytes(text).buffer), (ms) => data.start + ms / 1000);

  const lanes = [...root.querySelectorAll(".lane")].map((element, number) => {
    const source = data.lanes[number], start = times(source.start), end = times(source.end), values = bytes(source.p);
    const sums = new Float64Array((start.length + 1) * classes);
    for (let i = 0; i < start.length; i++) {
      for (let k = 0; k < classes; k++) {
        sums[(i + 1) * classes + k] = sums[i * classes + k] + (end[i] - start[i]) * values[i * classes + k] / 250;
      }
    }
    const held = new Float64Array(start.length + 1);
    start.forEach((t, i) => { held[i + 1] = held[i] + end[i] - t; });
    return { element, area: element.querySelector(".time"), track: source.track, start, end, values, sums, held,
      episodes: data.episodes.filter((episode) => episode[0] === source.track), drawn: 0 };
  });

  /** The last stretch that begins at `t` or before; -1: none. */
  function indexAt(lane, t) {
    let low = 0, high = lane.start.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (lane.start[middle] <= t) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /** Seconds seen up to `t`, and the integral of each probability. */
  function integral(lane, t, out) {
    const i = indexAt(lane, t);
    out.fill(0);
    if (i < 0) return 0;
    const spent = Math.min(t, lane.end[i]) - lane.start[i];
    for (let k = 0; k < classes; k++) out[k] = lane.sums[i * classes + k] + spent * lane.values[i * classes + k] / 250;
    return lane.held[i] + spent;
  }

  // --- drawing -------------------------------------------------------------------------------------------------------

  function draw(lane) {
    const width = lane.area.clientWidth, columns = Math.max(Math.min(Math.round(width / 2), 700), 10);
    let before = new Float64Array(classes), now = new Float64Array(classes);
    let held = integral(lane, from, before), label = -1, line = [], begin = 0;
    let seen = "", trace = "", unsure = "";
    const areas = Array(classes).fill("");
    const close = (column) => {
      if (label < 0) return;
      line.push(`${column} ${line[line.length - 1].split(" ")[1]}`);
      areas[label] += `M${begin} 100L${line.join("L")}L${column} 100Z`;
      trace += line.join("L");
    };
    for (let c = 0; c < columns; c++) {
      const total = integral(lane, from + (to - from) * (c + 1) / columns, now), part = total - held;
      let best = -1, high = -1;
      if (part > 1e-9) {
        for (let k = 0; k < classes; k++) {
          const p = (now[k] - before[k]) / part;
          if (p > high) { high = p; best = k; }
        }
      }
      const y = (100 * (1 - high)).toFixed(1);
      if (best >= 0 && high < data.unsure) unsure += `M${c} 0H${c + 1}V100H${c}Z`;
      if (best !== label) {
        close(c);
        if (best >= 0) trace += label >= 0 ? "L" : "M";
        if (label < 0) seen += `M${c} 100V0`;
        if (best < 0) seen += `H${c}V100Z`;
        label = best;
        begin = c;
        line = [`${c} ${y}`];
      }
      if (best >= 0) line.push(`${c + 0.5} ${y}`);
      [before, now] = [now, before];
      held = total;
    }
    close(columns);
    if (label >= 0) seen += `H${columns}V100Z`;
    const svg = lane.area.querySelector("svg");
    svg.setAttribute("viewBox", `0 0 ${columns} 100`);
    svg.innerHTML = `<path class="seen" d="${seen}"/>` +
      areas.map((path, k) => (path ? `<path class="c${k}" d="${path}"/>` : "")).join("") +
      `<path class="unsure" d="${unsure}"/><path class="trace" d="${trace}"/>`;
    lane.area.querySelectorAll(".tag").forEach((tag) => tag.remove());
    for (const [, k, start, end] of lane.episodes) {
      const left = Math.max(start, from), right = Math.min(end, to);
      if ((right - left) / (to - from) * width < 20) continue;
      const tag = document.createElement("div"), name = document.createElement("span");
      tag.className = `tag t${k}`;
      tag.style.left = `${100 * (left - from) / (to - from)}%`;
      tag.style.width = `${100 * (right - left) / (to - from)}%`;
      name.textContent = data.classes[k];
      tag.append(name);
      lane.area.append(tag);
    }
    lane.element.classList.toggle("away", !seen);
    lane.drawn = version;
  }

  function clock(seconds, digits) {
    const scale = 10 ** digits, rounded = Math.round(seconds * scale), minutes = Math.floor(rounded / (60 * scale));
    const rest = ((rounded - minutes * 60 * scale) / scale).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
    const hours = Math.floor(minutes / 60);
    return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  }

  function drawAxis() {
    const most = Math.max(2, Math.floor(ticks.clientWidth / 74));
    const step = data.steps.find((s) => (to - from) / s <= most) || data.steps[data.steps.length - 1];
    const first = Math.ceil(from / step - 1e-9), last = Math.floor(to / step + 1e-9);
    ticks.querySelectorAll("span").forEach((span) => span.remove());
    for (let n = first; n <= last; n++) {
      const label = document.createElement("span");
      label.textContent = clock(n * step, step < 1 ? 1 : 0);
      label.style.left = `${100 * (n * step - from) / (to - from)}%`;
      ticks.append(label);
    }
    const size = step / (to - from), offset = (first * step - from) / (to - from);
    root.style.setProperty("--tick", 100 * size);
    root.style.setProperty("--tick-at", size < 1 ? 100 * offset / (1 - size) : 0);
    map.style.left = `${100 * (from - data.start) / whole}%`;
    map.style.width = `${100 * (to - from) / whole}%`;
    const isWhole = to - from > whole * (1 - 1e-9);
    root.classList.toggle("zoomed", !isWhole);
    const digits = to - from < 60 ? 1 : 0;
    find(".tools output").textContent = `${clock(from, digits)} to ${clock(to, digits)}`;
    for (const name of ["out", "left", "right", "all"]) find(`[data-do=${name}]`).disabled = isWhole;
    find("[data-do=in]").disabled = to - from <= shortest * (1 + 1e-9);
  }

  /** Draw what is in the window of the browser; the rest when it comes into view. */
  function render() {
    queued = false;
    for (const lane of lanes) {
      const box = lane.drawn === version ? null : lane.area.getBoundingClientRect();
      if (box && box.width && box.bottom > -200 && box.top < window.innerHeight + 200) draw(lane);
    }
    placeCursor();
  }

  function ask() {
    if (!queued) { queued = true; requestAnimationFrame(render); }
  }

  function show(start, length) {
    length = Math.min(Math.max(length, shortest), whole);
    from = Math.min(Math.max(start, data.start), data.end - length);
    to = from + length;
    version += 1;
    drawAxis();
    ask();
  }

  const zoom = (factor, around) => show(around - (around - from) * factor, (to - from) * factor);
  const move = (share) => show(from + share * (to - from), to - from);
  const timeOf = (x) => {
    const box = ticks.getBoundingClientRect();
    return from + (to - from) * Math.min(Math.max((x - box.left) / box.width, 0), 1);
  };
  const xOf = (t) => {
    const box = ticks.getBoundingClientRect();
    return box.left + box.width * (t - from) / (to - from);
  };

  // --- the read-out --------------------------------------------------------------------------------------------------

  function placeCursor() {
    const visible = !tip.hidden && at >= from && at <= to;
    cursor.style.display = visible ? "block" : "none";
    if (visible) cursor.style.left = `${xOf(at) - root.getBoundingClientRect().left}px`;
  }

  function hide() {
    tip.hidden = true;
    lanes.forEach((lane) => lane.element.classList.remove("chosen"));
    placeCursor();
  }

  function element(name, text, style) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (style) made.className = style;
    return made;
  }

  /** Read out lane number `n` at `t`: time, expression, every probability, and the episode. */
  function readOut(n, t, x, y) {
    const lane = lanes[n], i = indexAt(lane, t), isSeen = i >= 0 && t <= lane.end[i];
    chosen = n;
    at = t;
    lanes.forEach((other) => other.element.classList.toggle("chosen", other === lane));
    const values = isSeen ? [...lane.values.subarray(i * classes, (i + 1) * classes)].map((v) => v / 250) : [];
    const best = values.indexOf(Math.max(...values));
    tip.replaceChildren(element("span", `track ${lane.track}, ${clock(t, 1)}`),
      element("b", isSeen ? `${data.classes[best]} ${Math.round(100 * values[best])} %` : "not seen"));
    const episode = lane.episodes.find(([, , start, end]) => start <= t && t <= end);
    if (episode) {
      tip.append(element("span", `episode: ${data.classes[episode[1]]}, ${clock(episode[2], 1)} to ${clock(episode[3], 1)}`));
    }
    const list = element("dl");
    values.forEach((value, k) => {
      const cell = element("dd"), bar = element("i", "", `b${k}`);
      bar.style.width = `${100 * value}%`;
      cell.append(bar);
      list.append(element("dt", data.classes[k]), cell, element("dd", `${Math.round(100 * value)} %`));
    });
    tip.append(list);
    tip.hidden = false;
    const left = x + 18 + tip.offsetWidth < window.innerWidth ? x + 18 : x - 18 - tip.offsetWidth;
    tip.style.left = `${Math.max(left, 4)}px`;
    tip.style.top = `${Math.max(Math.min(y + 18, window.innerHeight - tip.offsetHeight - 8), 4)}px`;
    placeCursor();
  }

  // --- mouse, fingers, keys ------------------------------------------------------------------------------------------

  const pointers = new Map();
  let drag = null, pinch = 0;

  const laneOf = (event) => {
    const element = event.target.closest && event.target.closest(".lane"), box = ticks.getBoundingClientRect();
    if (!element || event.clientX < box.left || event.clientX > box.right) return -1;
    return lanes.findIndex((lane) => lane.element === element);
  };
  const onAxis = (event) => Boolean(event.target.closest && event.target.closest(".ticks"));

  root.addEventListener("pointerdown", (event) => {
    const n = laneOf(event);
    if ((n < 0 && !onAxis(event)) || event.button) return;
    pointers.set(event.pointerId, event.clientX);
    const select = event.pointerType !== "touch" && n >= 0;
    if (event.pointerType !== "touch") event.target.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, from, select, moved: false };
    if (pointers.size === 2) pinch = Math.abs([...pointers.values()][0] - [...pointers.values()][1]);
    if (n >= 0) readOut(n, timeOf(event.clientX), event.clientX, event.clientY);
  });

  root.addEventListener("pointermove", (event) => {
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, event.clientX);
    if (pointers.size === 2) {
      const [a, b] = [...pointers.values()], gap = Math.abs(a - b);
      if (pinch > 10 && gap > 10) zoom(pinch / gap, timeOf((a + b) / 2));
      pinch = gap;
      drag = null;
      return;
    }
    if (drag) {
      drag.moved = drag.moved || Math.abs(event.clientX - drag.x) > 4;
      if (!drag.moved) return;
      if (!drag.select) {
        show(drag.from - (event.clientX - drag.x) / ticks.clientWidth * (to - from), to - from);
        hide();
        return;
      }
      const [low, high] = [timeOf(drag.x), timeOf(event.clientX)].sort((a, b) => a - b);
      band.style.display = "block";
      band.style.left = `${xOf(low) - root.getBoundingClientRect().left}px`;
      band.style.width = `${xOf(high) - xOf(low)}px`;
    }
    const n = laneOf(event);
    if (n >= 0) readOut(n, timeOf(event.clientX), event.clientX, event.clientY);
    else if (event.pointerType === "mouse" && !drag) hide();
  });

  function release(event) {
    pointers.delete(event.pointerId);
    if (drag && drag.select && drag.moved && event.type === "pointerup") {
      const [low, high] = [timeOf(drag.x), timeOf(event.clientX)].sort((a, b) => a - b);
      show(low, high - low);
    }
    band.style.display = "none";
    drag = null;
  }
  root.addEventListener("pointerup", release);
  root.addEventListener("pointercancel", (event) => { release(event); hide(); });
  document.addEventListener("pointerdown", (event) => { if (!root.contains(event.target)) hide(); });
  root.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !drag) hide(); });
  root.addEventListener("dblclick", (event) => { if (laneOf(event) >= 0) zoom(0.5, timeOf(event.clientX)); });

  root.addEventListener("wheel", (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
    if (!onAxis(event) && !(laneOf(event) >= 0 && (event.ctrlKey || event.metaKey || sideways))) return;
    event.preventDefault();
    const turned = (event.deltaMode ? 30 : 1) * (sideways ? event.deltaX || event.deltaY : event.deltaY);
    if (sideways) move(turned / 1000);
    else zoom(Math.exp(Math.min(Math.max(turned, -200), 200) / 300), timeOf(event.clientX));
  }, { passive: false });

  const deeds = {
    in: () => zoom(0.5, tip.hidden ? (from + to) / 2 : at),
    out: () => zoom(2, tip.hidden ? (from + to) / 2 : at),
    left: () => move(-0.5),
    right: () => move(0.5),
    all: () => show(data.start, whole),
  };
  find(".tools").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) deeds[button.dataset.do]();
  });

  function step(lanesDown, columns) {
    const shown = lanes.map((lane, n) => n).filter((n) => lanes[n].area.offsetParent);
    if (!shown.length) return;
    const place = tip.hidden ? 0 : Math.min(Math.max(shown.indexOf(chosen) + lanesDown, 0), shown.length - 1);
    let t = tip.hidden ? Math.min(Math.max(at, from), to) : at + columns * (to - from) / 100;
    t = Math.min(Math.max(t, data.start), data.end);
    if (t < from || t > to) show(t - (to - from) / 2, to - from);
    lanes[shown[place]].element.scrollIntoView({ block: "nearest" });
    const box = lanes[shown[place]].area.getBoundingClientRect();
    readOut(shown[place], t, xOf(t), box.bottom - 12);
  }

  root.tabIndex = 0;
  root.addEventListener("keydown", (event) => {
    const keys = {
      "+": deeds.in, "=": deeds.in, "-": deeds.out, "0": deeds.all, Escape: hide,
      ArrowLeft: () => (event.shiftKey ? move(-0.25) : step(0, -1)),
      ArrowRight: () => (event.shiftKey ? move(0.25) : step(0, 1)),
      ArrowUp: () => step(-1, 0),
      ArrowDown: () => step(1, 0),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("summary")) return;
    event.preventDefault();
    keys[event.key]();
  });

  // A row of the table leads to its lane; with a script also to its time.
  document.querySelectorAll("a[data-from]").forEach((link) => link.addEventListener("click", () => {
    const start = Number(link.dataset.from), length = Number(link.dataset.to) - start;
    const lane = find(link.getAttribute("href")), details = lane && lane.closest("details");
    if (details) details.open = true;
    show(start - Math.max(length, 1), length + 2 * Math.max(length, 1));
  }));

  window.addEventListener("scroll", () => {
    const box = tip.hidden ? null : lanes[chosen].area.getBoundingClientRect();
    if (box && (box.bottom < 0 || box.top > window.innerHeight)) hide();
    ask();
  }, { passive: true });
  window.addEventListener("resize", () => show(from, to - from));
  root.querySelectorAll("details").forEach((details) => details.addEventListener("toggle", ask));
  document.documentElement.classList.add("js");
  show(data.start, whole);
})();
