// Prints the row that the page's own mode makes of one face, as JSON.

globalThis.self = {}; // a worker's
const { rowOf } = await import("../../src/mien/web/worker.js");

const face = { box: [1, 2, 3, 4], score: 0.9, detector: "yunet", landmarks: [[1, 1], [2, 1], [1.5, 2], [1, 3], [2, 3]] };
const answer = { name: "people", meaning: "", classes: ["a", "b"], output: "", prior: "training", factors: null, even: null };
console.log(JSON.stringify(rowOf(face, 0, answer, [0.7, 0.3], "photo.jpg")));
