// Request, Response and fetch.

function plainMethod(method) {
  method = String(method);
  if (!token.test(method) || /^(connect|trace|track)$/i.test(method)) throw new TypeError(`Request: ${JSON.stringify(method.slice(0, 100))} is no method that can be used`);
  return /^(get|head|post|put|delete|options)$/i.test(method) ? method.toUpperCase() : method;
}

let incoming;

class Request extends Body {
  #method;
  #url;
  #headers;
  #redirect;
  #signal;
  #lines = null;
  constructor(input, init) {
    if (input === internal) {
      const body = init[0] === 'GET' || init[0] === 'HEAD' ? null : new HostBody();
      super(internal, body);
      this.#method = init[0];
      this.#url = init[1];
      this.#redirect = 'follow';
      this.#lines = init;
      return;
    }
    init = init ?? {};
    const from = input instanceof Request ? input : null;
    const method = init.method !== undefined ? plainMethod(init.method) : from ? from.method : 'GET';
    const [body, type] = init.body !== undefined && init.body !== null ? bodyOf(init.body) : [null, null];
    if (body !== null && (method === 'GET' || method === 'HEAD')) throw new TypeError(`Request: a ${method} has no body`);
    super(internal, body ?? (from && init.body === undefined ? cloneBody(from) : null));
    this.#method = method;
    if (from) this.#url = from.url;
    else {
      const url = new URL(input);
      if (url.username || url.password) throw new TypeError('Request: the URL has a user or a password in it');
      this.#url = url.href;
    }
    this.#headers = new Headers(init.headers ?? from?.headers);
    if (type) setKnown(this.#headers, 'content-type', type);
    this.#redirect = init.redirect ?? from?.redirect ?? 'follow';
    if (!['follow', 'error', 'manual'].includes(this.#redirect)) throw new TypeError('Request: redirect: expected follow, error or manual');
    this.#signal = init.signal ?? from?.signal;
  }
  static { incoming = (lines) => new Request(internal, lines); }
  get method() { return this.#method; }
  get url() { return this.#url; }
  get headers() { return this.#headers ??= seal(fromLines(this.#lines, 3)); }
  get redirect() { return this.#redirect; }
  get signal() { return this.#signal ??= new AbortController().signal; }
  clone() {
    const copy = new Request(this, { body: null });
    giveBody(copy, cloneBody(this));
    return copy;
  }
  get [Symbol.toStringTag]() { return 'Request'; }
}

let fetchedResponse;

const nullBody = new Set([101, 204, 205, 304]);

class Response extends Body {
  #status;
  #statusText;
  #headers;
  #url = '';
  #redirected = false;
  #type = 'default';
  constructor(init, options) {
    const status = options?.status ?? 200;
    if (!Number.isInteger(status) || status < 200 || status > 599) throw new RangeError(`Response: status: ${String(status).slice(0, 100)}: expected 200 to 599`);
    const [body, type] = bodyOf(init);
    if (body !== null && nullBody.has(status)) throw new TypeError(`Response: an answer with status ${status} has no body`);
    super(internal, body);
    this.#status = status;
    this.#statusText = String(options?.statusText ?? '');
    this.#headers = new Headers(options?.headers);
    if (type) setKnown(this.#headers, 'content-type', type);
  }
  static json(data, options) {
    const text = JSON.stringify(data);
    if (text === undefined) throw new TypeError('Response.json: expected what JSON can say');
    const r = new Response(text, options);
    if (!new Headers(options?.headers).has('content-type')) r.#headers.set('content-type', 'application/json');
    return r;
  }
  static redirect(url, status = 302) {
    if (![301, 302, 303, 307, 308].includes(status)) throw new RangeError('Response.redirect: expected status 301, 302, 303, 307 or 308');
    return new Response(null, { status, headers: { location: new URL(url).href } });
  }
  static error() {
    const r = new Response(null);
    r.#type = 'error';
    r.#status = 0;
    return r;
  }
  static #fetched(status, url, redirected, headers, body) {
    const r = new Response(nullBody.has(status) ? null : body);
    r.#status = status;
    r.#url = url;
    r.#redirected = redirected;
    r.#headers = headers;
    return r;
  }
  static { fetchedResponse = Response.#fetched; }
  get status() { return this.#status; }
  get statusText() { return this.#statusText; }
  get headers() { return this.#headers; }
  get ok() { return this.#status >= 200 && this.#status <= 299; }
  get url() { return this.#url; }
  get redirected() { return this.#redirected; }
  get type() { return this.#type; }
  clone() {
    const body = cloneBody(this);
    const copy = new Response(null);
    copy.#status = this.#status;
    copy.#statusText = this.#statusText;
    copy.#headers = new Headers(this.#headers);
    copy.#url = this.#url;
    copy.#redirected = this.#redirected;
    copy.#type = this.#type;
    giveBody(copy, body);
    return copy;
  }
  get [Symbol.toStringTag]() { return 'Response'; }
}

// fetches are the calls of fetch that the host is at, by number.
let fetches = new Map();
let lastFetch = 0;

function fetch(input, init) {
  return new Promise((resolve, reject) => {
    inRequest('fetch');
    const request = new Request(input, init);
    const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    if (signal?.aborted) return reject(signal.reason);
    const id = ++lastFetch, mine = serial;
    fetches.set(id, { resolve, reject });
    signal?.addEventListener('abort', () => {
      if (!fetches.delete(id)) return;
      host.abandon(`${id}`);
      reject(signal.reason);
    });
    const head = `${id}\n${request.redirect}\n${request.method}\n${request.url}\n${wire(request.headers)}`;
    const send = (body) => {
      if (mine !== serial || !fetches.has(id)) return;
      if (body === null) host.fetch(head);
      else host.fetch(head, typeof body === 'string' ? host.encode(body) : exact(body));
    };
    const body = takeBody(request);
    if (body instanceof Promise) body.then(send).catch((e) => { if (fetches.delete(id)) reject(e); });
    else send(body);
  });
}
global('fetch', fetch);

// settle is told what became of a fetch: an error, or the head and the body of an
// answer.
function settle(id, error, head, body) {
  const call = fetches.get(Number(id));
  if (!fetches.delete(Number(id))) return;
  if (error !== '') return call.reject(new TypeError('fetch: ' + error));
  const lines = head.split('\n');
  call.resolve(fetchedResponse(Number(lines[0]), lines[1], lines[2] === 'redirected', fromLines(lines, 3), new Uint8Array(body)));
}

for (const [name, value] of Object.entries({ Headers, Request, Response })) global(name, value);
