/**
 * Keeps the page for when there is no network. Small files come from the network first, so that an update shows at once;
 * files whose address names their content (`?v=`) come from the store. Answers get the headers that threads need, for
 * hosts that cannot be told to send them.
 */

const STORE = "mien";
const sw = /** @type {any} */ (self);

sw.addEventListener("install", (/** @type {any} */ event) => {
  event.waitUntil(
    (async () => {
      const site = await (await fetch("site.json", { cache: "no-cache" })).json();
      await (await caches.open(STORE)).addAll(["./", "site.json", ...site.files]);
      await sw.skipWaiting();
    })(),
  );
});

sw.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(sw.clients.claim()));

sw.addEventListener("message", (/** @type {any} */ event) => {
  if (Array.isArray(event.data?.keep)) event.waitUntil(keep(event.data.keep));
});

sw.addEventListener("fetch", (/** @type {any} */ event) => {
  const url = new URL(event.request.url);
  const ours = url.origin === location.origin && url.href.startsWith(sw.registration.scope);
  if (event.request.method === "GET" && ours && !/\/(v1|v2|metrics|openapi\.json)(\/|$)/.test(url.pathname)) event.respondWith(answer(event.request, url));
});

/** @param {Request} request @param {URL} url */
async function answer(request, url) {
  const store = await caches.open(STORE);
  const kept = await store.match(request);
  if (kept && url.searchParams.has("v")) return isolated(kept);
  try {
    const fresh = await fetch(request);
    if (fresh.ok && (kept || url.searchParams.has("v"))) await store.put(request, fresh.clone());
    if (fresh.ok && url.pathname.endsWith("/site.json")) await addNew(store, (await fresh.clone().json()).files);
    return isolated(fresh);
  } catch (error) {
    const found = kept ?? (request.mode === "navigate" ? await store.match("./") : undefined);
    if (found) return isolated(found);
    throw error;
  }
}

/** Fetch files that a newer version of the page has. @param {Cache} store @param {string[]} files */
async function addNew(store, files) {
  for (const file of files) {
    const address = new URL(file, sw.registration.scope).href;
    if (!(await store.match(address))) await store.add(address);
  }
}

/** Fetch what is not kept yet, and drop older versions of the same files. @param {string[]} files */
async function keep(files) {
  const store = await caches.open(STORE);
  const wanted = new Set(files.map((file) => new URL(file, sw.registration.scope).href));
  for (const request of await store.keys()) {
    if (new URL(request.url).searchParams.has("v") && !wanted.has(request.url)) await store.delete(request);
  }
  for (const file of wanted) if (!(await store.match(file))) await store.add(file);
}

/** @param {Response} response */
function isolated(response) {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
