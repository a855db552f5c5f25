/**
 * What flows through the page. A row is one face, as `/v1/read` and `mien predict --json` give it.
 *
 * @typedef {[number, number, number, number]} Box  x1, y1, x2, y2 in pixels of the picture
 * @typedef {[number, number][]} Landmarks  eye, eye, nose tip, mouth corner, mouth corner; left before right in the picture
 *
 * @typedef {object} Row
 * @property {string} source
 * @property {number} frame
 * @property {number | null} time_s
 * @property {number} face
 * @property {number | null} track
 * @property {Box} box_xyxy
 * @property {number} score  the detector's confidence, 0..1
 * @property {string} detector
 * @property {Landmarks | null} landmarks_xy
 * @property {string} label
 * @property {number} confidence  0..1
 * @property {Record<string, number>} probabilities
 * @property {string | null} [error]
 * @property {string | null} [answer]
 * @property {number} [disagreement]  0..1
 * @property {number} [unsure]  1 where the likeliest class has less than half
 * @property {string | null} [note]  what to know of the picture; null on the device, where a browser decodes it
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {string | number | null} [version]
 * @property {string} sha256
 * @property {string[]} classes
 * @property {string | null} [answer]  "people": the probabilities are shares of people
 * @property {string} [prior]  the mix of classes expected; "training" as it was learned
 *
 * @typedef {object} Answer
 * @property {Model} model
 * @property {number} width
 * @property {number} height
 * @property {Row[]} rows
 * @property {number} ms  from asking to having the answer
 * @property {ImageBitmap} [bitmap]  the frame that was read, where the reader was given one
 * @property {{detect: number, classify: number}} [parts]  milliseconds, on this device
 *
 * @typedef {object} Choice  which answer, leaning to which mix of classes
 * @property {string | null} answer  null: the model's default
 * @property {"even" | null} prior  null: the default one
 * @property {number} strength  how far to go to that mix, 0..1
 *
 * @typedef {object} Options
 * @property {number | null} minFace  smallest face, pixels; null: automatic
 * @property {Choice} choice
 *
 * @typedef {object} AnswerKind  what a model can be asked for
 * @property {string | null} name
 * @property {string} meaning
 * @property {boolean} hasPrior  whether it can lean to another mix
 * @property {string} prior  the default one
 *
 * @typedef {object} Reader
 * @property {"server" | "device"} mode
 * @property {() => Promise<AnswerKind[]>} answers  the default first; none where nobody can say
 * @property {number} liveMinFace  share of a frame's longer side that the smallest face takes in live pictures
 * @property {(file: Blob, name: string, options: Options) => Promise<Answer>} read
 * @property {(bitmap: ImageBitmap, name: string, options: Options) => Promise<Answer>} live  takes the bitmap and gives it back
 *
 * @typedef {object} Picture
 * @property {number} id
 * @property {string} name
 * @property {Blob} file
 * @property {"waiting" | "reading" | "done" | "failed"} status
 * @property {number} width
 * @property {number} height
 * @property {Row[]} rows
 * @property {string | null} error
 * @property {Model | null} model
 * @property {number} ms
 * @property {number | null} minFace  what it was read with
 * @property {Choice} choice  what it was read with
 * @property {"server" | "device"} mode
 * @property {HTMLCanvasElement | null} thumbnail
 *
 * @typedef {object} DeviceAnswer
 * @property {string | null} name
 * @property {string} meaning
 * @property {string[]} classes
 * @property {string} output  of the graph
 * @property {string} prior  the default one
 * @property {number[] | null} factors  that lead to it
 * @property {number[] | null} even  that lead to an even prior; null where the model does not say what it learned
 *
 * @typedef {object} DeviceSite
 * @property {{file: string, bytes: number}} script  ONNX Runtime Web
 * @property {{file: string, bytes: number}} glue
 * @property {{file: string, bytes: number}} wasm
 * @property {{file: string, bytes: number}} detector
 * @property {{file: string, bytes: number, name: string, sha256: string, manifest: any, answers: DeviceAnswer[]}} model
 *
 * @typedef {object} Site
 * @property {string} version
 * @property {boolean} server
 * @property {{file: string, title: string, alt: string}[]} samples
 * @property {DeviceSite | null} device
 * @property {string[]} files  what the page needs offline; files of the device mode are those in `device_files`
 * @property {string[]} device_files
 */
export {};
