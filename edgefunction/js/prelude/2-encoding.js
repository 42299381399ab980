// TextEncoder, TextDecoder, structuredClone.

class TextEncoder {
  get encoding() { return 'utf-8'; }
  encode(text = '') { return new Uint8Array(host.encode(String(text).toWellFormed())); }
  encodeInto(text, target) {
    let read = 0, written = 0;
    for (const c of String(text).toWellFormed()) {
      const bytes = this.encode(c);
      if (written + bytes.length > target.length) break;
      target.set(bytes, written);
      written += bytes.length;
      read += c.length;
    }
    return { read, written };
  }
}

const encodings = new Map([
  ...['utf-8', 'utf8', 'unicode-1-1-utf-8'].map((l) => [l, 'utf-8']),
  ...['utf-16le', 'utf-16', 'unicode', 'ucs-2'].map((l) => [l, 'utf-16le']),
  ['utf-16be', 'utf-16be'],
  ...['windows-1252', 'latin1', 'iso-8859-1', 'ascii', 'us-ascii'].map((l) => [l, 'windows-1252']),
]);

class TextDecoder {
  #encoding;
  #fatal;
  #ignoreBOM;
  #rest = new Uint8Array(0);
  constructor(label = 'utf-8', options = {}) {
    this.#encoding = encodings.get(String(label).trim().toLowerCase());
    if (!this.#encoding) throw new RangeError(`TextDecoder: ${JSON.stringify(String(label).slice(0, 100))}: expected utf-8, utf-16le, utf-16be or windows-1252`);
    this.#fatal = Boolean(options.fatal);
    this.#ignoreBOM = Boolean(options.ignoreBOM);
  }
  get encoding() { return this.#encoding; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }
  decode(input, options) {
    let bytes = input === undefined ? new Uint8Array(0) : ArrayBuffer.isView(input) ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength) : new Uint8Array(input);
    if (this.#rest.length > 0) {
      const whole = new Uint8Array(this.#rest.length + bytes.length);
      whole.set(this.#rest);
      whole.set(bytes, this.#rest.length);
      bytes = whole;
      this.#rest = new Uint8Array(0);
    }
    if (options?.stream) {
      const keep = this.#unfinished(bytes);
      this.#rest = bytes.slice(bytes.length - keep);
      bytes = bytes.subarray(0, bytes.length - keep);
    }
    const text = host.decode(this.#encoding + (this.#fatal ? '!' : '') + (this.#ignoreBOM ? '+' : ''), exact(bytes));
    if (text === null) throw new TypeError(`TextDecoder: the bytes are not ${this.#encoding}`);
    return text;
  }
  // unfinished is how many bytes at the end begin a character that is not whole.
  #unfinished(bytes) {
    if (this.#encoding === 'windows-1252') return 0;
    if (this.#encoding !== 'utf-8') return bytes.length % 2;
    for (let n = 1; n <= Math.min(3, bytes.length); n++) {
      const b = bytes[bytes.length - n];
      if (b < 0x80) return 0;
      if (b >= 0xc0) return (b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : 2) > n ? n : 0;
    }
    return 0;
  }
}

function structuredClone(value, options) {
  const seen = new Map();
  const refuse = (v) => { throw new DOMException(`structuredClone: ${inspect(v, 1)} cannot be cloned`, 'DataCloneError'); };
  const note = (from, to) => { seen.set(from, to); return to; };
  const clone = (v) => {
    if (typeof v === 'function' || typeof v === 'symbol') refuse(v);
    if (v === null || typeof v !== 'object') return v;
    if (seen.has(v)) return seen.get(v);
    if (v instanceof Boolean || v instanceof Number || v instanceof String) return note(v, Object(v.valueOf()));
    if (v instanceof Date) return note(v, new Date(v.getTime()));
    if (v instanceof RegExp) return note(v, new RegExp(v.source, v.flags));
    if (v instanceof ArrayBuffer) return note(v, v.slice(0));
    if (v instanceof DataView) return note(v, new DataView(clone(v.buffer), v.byteOffset, v.byteLength));
    if (ArrayBuffer.isView(v)) return note(v, new v.constructor(clone(v.buffer), v.byteOffset, v.length));
    if (v instanceof Map) {
      const m = note(v, new Map());
      for (const [k, x] of [...v]) m.set(clone(k), clone(x));
      return m;
    }
    if (v instanceof Set) {
      const s = note(v, new Set());
      for (const x of [...v]) s.add(clone(x));
      return s;
    }
    if (v instanceof Error) {
      const constructors = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
      const e = note(v, new (constructors[v.name] ?? Error)(v.message));
      Object.defineProperty(e, 'stack', { value: v.stack, writable: true, configurable: true });
      if ('cause' in v) e.cause = clone(v.cause);
      return e;
    }
    if (v instanceof Promise || v instanceof WeakMap || v instanceof WeakSet || v instanceof WeakRef) refuse(v);
    const copy = note(v, Array.isArray(v) ? new Array(v.length) : {});
    for (const key of Object.keys(v)) copy[key] = clone(v[key]);
    return copy;
  };
  const copy = clone(value);
  for (const buffer of options?.transfer ?? []) if (buffer instanceof ArrayBuffer) buffer.transfer();
  return copy;
}

for (const [name, value] of Object.entries({ TextEncoder, TextDecoder, structuredClone })) global(name, value);
global('self', globalThis);
global('navigator', Object.freeze({ userAgent: 'Caddy-Apoxy' }));
