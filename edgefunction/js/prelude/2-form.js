// Blob, File and FormData.

let blobBytes;

class Blob {
  #bytes;
  #type;
  constructor(parts = [], options = {}) {
    const all = [...parts].map((part) => part instanceof Blob ? part.#bytes : ArrayBuffer.isView(part) || part instanceof ArrayBuffer ? bytesOf(part) : new Uint8Array(host.encode(String(part).toWellFormed())));
    this.#bytes = new Uint8Array(all.reduce((n, b) => n + b.length, 0));
    let at = 0;
    for (const b of all) {
      this.#bytes.set(b, at);
      at += b.length;
    }
    this.#type = /^[ -~]*$/.test(options.type ?? '') ? String(options.type ?? '').toLowerCase() : '';
  }
  static { blobBytes = (blob) => blob.#bytes; }
  get size() { return this.#bytes.length; }
  get type() { return this.#type; }
  slice(from, to, type = '') { return new Blob([this.#bytes.slice(from, to)], { type }); }
  async text() { return host.decode('utf-8', exact(this.#bytes)); }
  async bytes() { return this.#bytes.slice(); }
  async arrayBuffer() { return this.#bytes.slice().buffer; }
  stream() { return new Response(this.#bytes).body; }
}

class File extends Blob {
  #name;
  constructor(parts, name, options = {}) {
    super(parts, options);
    this.#name = String(name);
    this.lastModified = options.lastModified ?? Date.now();
  }
  get name() { return this.#name; }
}

class FormData {
  #list = [];
  #entry(name, value, file) {
    if (!(value instanceof Blob)) return [String(name).toWellFormed(), String(value).toWellFormed()];
    if (!(value instanceof File) || file !== undefined) value = new File([value], file ?? 'blob', { type: value.type });
    return [String(name).toWellFormed(), value];
  }
  append(name, value, file) { this.#list.push(this.#entry(name, value, file)); }
  set(name, value, file) {
    const entry = this.#entry(name, value, file);
    const first = this.#list.findIndex(([n]) => n === entry[0]);
    if (first < 0) this.#list.push(entry);
    else this.#list = this.#list.map((e, i) => i === first ? entry : e).filter(([n], i) => i <= first || n !== entry[0]);
  }
  delete(name) { this.#list = this.#list.filter(([n]) => n !== String(name)); }
  get(name) { return this.#list.find(([n]) => n === String(name))?.[1] ?? null; }
  getAll(name) { return this.#list.filter(([n]) => n === String(name)).map(([, v]) => v); }
  has(name) { return this.#list.some(([n]) => n === String(name)); }
  *entries() { for (const e of this.#list) yield [...e]; }
  *keys() { for (const [name] of this.#list) yield name; }
  *values() { for (const [, value] of this.#list) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  forEach(callback, self) { for (const [name, value] of this.entries()) callback.call(self, value, name, this); }
}

function encodeForm(form) {
  inRequest('FormData as a body');
  const boundary = '----form' + crypto.randomUUID().replaceAll('-', '');
  const quote = (s) => s.replaceAll('"', '%22').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
  const parts = [];
  for (const [name, value] of form) {
    const head = `--${boundary}\r\ncontent-disposition: form-data; name="${quote(name)}"`;
    if (typeof value === 'string') parts.push(`${head}\r\n\r\n${value}\r\n`);
    else parts.push(`${head}; filename="${quote(value.name)}"\r\ncontent-type: ${value.type || 'application/octet-stream'}\r\n\r\n`, value, '\r\n');
  }
  return [blobBytes(new Blob([...parts, `--${boundary}--\r\n`])), `multipart/form-data; boundary=${boundary}`];
}

function decodeForm(type, bytes) {
  const form = new FormData();
  if (/^application\/x-www-form-urlencoded\b/i.test(type)) {
    for (const [name, value] of new URLSearchParams(host.decode('utf-8', exact(bytes)))) form.append(name, value);
    return form;
  }
  if (!/^multipart\/form-data\b/i.test(type)) throw new TypeError('formData: content-type: expected multipart/form-data or application/x-www-form-urlencoded');
  const parts = host.multipart(type.toWellFormed(), exact(bytes));
  if (parts === null) throw new TypeError('formData: the body is not multipart/form-data');
  for (const [name, file, mime, from, to] of JSON.parse(parts)) {
    const value = bytes.slice(from, to);
    if (file === null) form.append(name, host.decode('utf-8', exact(value)));
    else form.append(name, new File([value], file, { type: mime }));
  }
  return form;
}

for (const [name, value] of Object.entries({ Blob, File, FormData })) global(name, value);
