// Headers, and the bodies of requests and responses. Bodies are whole: a string, bytes,
// a stream that is read to its end, or the incoming request's, which the host holds.

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

function headerName(name) {
  name = String(name);
  if (!token.test(name)) throw new TypeError(`Headers: ${JSON.stringify(name.slice(0, 100))} is no field name`);
  return name.toLowerCase();
}

function headerValue(value) {
  value = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
  if (/[\0\n\r]|[^\0-\xff]/.test(value)) throw new TypeError(`Headers: ${JSON.stringify(value.slice(0, 100))} is no field value`);
  return value;
}

class Headers {
  #fields = new Map(); // name in lower case → values
  #sealed = false;
  constructor(init) {
    if (init === undefined || init === null) return;
    if (typeof init !== 'object' && typeof init !== 'function') throw new TypeError('Headers: expected an object or pairs');
    if (init instanceof Headers) {
      for (const [name, values] of init.#fields) this.#fields.set(name, [...values]);
    } else if (typeof init[Symbol.iterator] === 'function') {
      for (const pair of init) {
        const [name, value, ...more] = pair;
        if (more.length > 0 || value === undefined) throw new TypeError('Headers: expected pairs of name and value');
        this.append(name, value);
      }
    } else {
      for (const name of Object.keys(init)) this.append(name, init[name]);
    }
  }
  static fromLines(lines, first) {
    const h = new Headers();
    for (let i = first; i + 1 < lines.length; i += 2) {
      const values = h.#fields.get(lines[i]);
      if (values) values.push(lines[i + 1]);
      else h.#fields.set(lines[i], [lines[i + 1]]);
    }
    return h;
  }
  static toLines(h) {
    let text = '';
    for (const [name, values] of h.#fields) {
      for (const value of values) text += `${name}\n${value}\n`;
    }
    return text;
  }
  static setKnown(h, name, value) { if (!h.#fields.has(name)) h.#fields.set(name, [value]); }
  static seal(h) { h.#sealed = true; return h; }
  #change() { if (this.#sealed) throw new TypeError('Headers: those of the incoming request are immutable; copy them: new Headers(request.headers)'); }
  append(name, value) {
    this.#change();
    name = headerName(name);
    value = headerValue(value);
    const values = this.#fields.get(name);
    if (values) values.push(value);
    else this.#fields.set(name, [value]);
  }
  set(name, value) {
    this.#change();
    this.#fields.set(headerName(name), [headerValue(value)]);
  }
  delete(name) {
    this.#change();
    this.#fields.delete(headerName(name));
  }
  get(name) {
    const values = this.#fields.get(headerName(name));
    return values ? values.join(', ') : null;
  }
  has(name) { return this.#fields.has(headerName(name)); }
  getSetCookie() { return [...(this.#fields.get('set-cookie') ?? [])]; }
  *entries() {
    for (const name of [...this.#fields.keys()].sort()) {
      const values = this.#fields.get(name) ?? [];
      if (name !== 'set-cookie') yield [name, values.join(', ')];
      else for (const value of values) yield [name, value];
    }
  }
  *keys() { for (const [name] of this.entries()) yield name; }
  *values() { for (const [, value] of this.entries()) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  forEach(callback, self) { for (const [name, value] of this.entries()) callback.call(self, value, name, this); }
  get [Symbol.toStringTag]() { return 'Headers'; }
}
const wire = Headers.toLines, fromLines = Headers.fromLines, seal = Headers.seal, setKnown = Headers.setKnown;
delete Headers.toLines;
delete Headers.fromLines;
delete Headers.seal;
delete Headers.setKnown;

// HostBody is the incoming request's body.
class HostBody {
  #serial = serial;
  #check(read) {
    const body = this.#serial === serial ? read() : null;
    if (body === null) throw new TypeError('the body: its request is over');
    return body;
  }
  text() { return this.#check(host.bodyText); }
  bytes() { return new Uint8Array(this.#check(host.bodyBytes)); }
  get current() { return this.#serial === serial; }
}

// bodyOf returns a body as it is kept, and the content type that goes with it.
function bodyOf(init) {
  if (init === undefined || init === null) return [null, null];
  if (typeof init === 'string') return [init.toWellFormed(), 'text/plain;charset=UTF-8'];
  if (init instanceof ArrayBuffer) return [new Uint8Array(init.slice(0)), null];
  if (ArrayBuffer.isView(init)) return [new Uint8Array(init.buffer.slice(init.byteOffset, init.byteOffset + init.byteLength)), null];
  if (init instanceof URLSearchParams) return [init.toString(), 'application/x-www-form-urlencoded;charset=UTF-8'];
  if (init instanceof Blob) return [blobBytes(init), init.type || null];
  if (init instanceof FormData) return encodeForm(init);
  if (init instanceof ReadableStream) {
    if (init.locked) throw new TypeError('body: the stream is locked');
    return [init, null];
  }
  return [String(init).toWellFormed(), 'text/plain;charset=UTF-8'];
}

let takeBody, cloneBody, giveBody, isIncoming;

class Body {
  #source = null;
  #used = false;
  #stream = null;
  constructor(key, source) {
    if (key !== internal) throw new TypeError('Illegal constructor');
    this.#source = source;
  }
  static {
    // takeBody returns null, a string, bytes, or the promise of bytes.
    takeBody = (message) => {
      if (message.bodyUsed || message.#stream?.locked) throw new TypeError('the body was read already');
      if (message.#source !== null) message.#used = true;
      if (message.#stream) return collect(message.#stream);
      const source = message.#source;
      if (source instanceof ReadableStream) return collect(source);
      return source instanceof HostBody ? source.bytes() : source;
    };
    cloneBody = (message) => {
      if (message.bodyUsed || message.#stream?.locked) throw new TypeError('clone: the body was read already');
      const stream = message.#stream ?? (message.#source instanceof ReadableStream ? message.#source : null);
      if (!stream) return message.#source;
      const [one, other] = stream.tee();
      message.#stream = null;
      message.#source = one;
      return other;
    };
    giveBody = (message, source) => { message.#source = source; };
    isIncoming = (message) => message.#source instanceof HostBody && message.#source.current && !message.#stream;
  }
  get bodyUsed() { return this.#used || disturbed(this.#stream) || disturbed(this.#source); }
  get body() {
    if (this.#source === null) return null;
    if (this.#source instanceof ReadableStream) return this.#source;
    if (!this.#stream) {
      const source = this.#source;
      this.#stream = new ReadableStream({
        pull(controller) {
          const bytes = source instanceof HostBody ? source.bytes() : typeof source === 'string' ? new Uint8Array(host.encode(source)) : source;
          if (bytes.byteLength > 0) controller.enqueue(bytes);
          controller.close();
        },
      });
    }
    return this.#stream;
  }
  async text() {
    if (this.#source instanceof HostBody && !this.#stream && !this.#used) {
      this.#used = true;
      return this.#source.text();
    }
    const body = await takeBody(this);
    if (body === null) return '';
    return typeof body === 'string' ? body.startsWith('\ufeff') ? body.slice(1) : body : host.decode('utf-8', exact(body));
  }
  async json() { return JSON.parse(await this.text()); }
  async bytes() {
    const body = await takeBody(this);
    if (body === null) return new Uint8Array(0);
    return typeof body === 'string' ? new Uint8Array(host.encode(body)) : body.slice();
  }
  async arrayBuffer() { return (await this.bytes()).buffer; }
  async blob() { return new Blob([await this.bytes()], { type: this.headers.get('content-type') ?? '' }); }
  async formData() { return decodeForm(this.headers.get('content-type') ?? '', await this.bytes()); }
}
