// URL is parsed by the host after the WHATWG URL standard; URLSearchParams is here.

function decodeForm1(text) {
  text = text.replaceAll('+', ' ');
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return host.unescape(text);
  }
}

const encodeForm1 = (text) => encodeURIComponent(text.toWellFormed())
  .replace(/[!'()~]/g, (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase()).replaceAll('%20', '+');

let attach;

class URLSearchParams {
  #list = [];
  #changed = null;
  constructor(init = '') {
    if (init !== null && typeof init === 'object' || typeof init === 'function') {
      if (typeof init[Symbol.iterator] === 'function') {
        for (const pair of init) {
          const [name, value, ...more] = pair;
          if (more.length > 0 || value === undefined) throw new TypeError('URLSearchParams: expected pairs of name and value');
          this.#list.push([String(name).toWellFormed(), String(value).toWellFormed()]);
        }
      } else {
        for (const name of Object.keys(init)) this.#list.push([name.toWellFormed(), String(init[name]).toWellFormed()]);
      }
      return;
    }
    init = String(init).toWellFormed();
    this.#parse(init.startsWith('?') ? init.slice(1) : init);
  }
  #parse(text) {
    this.#list = [];
    for (const part of text.split('&')) {
      if (part === '') continue;
      const at = part.indexOf('=');
      this.#list.push(at < 0 ? [decodeForm1(part), ''] : [decodeForm1(part.slice(0, at)), decodeForm1(part.slice(at + 1))]);
    }
  }
  static {
    attach = (query, changed) => {
      const params = new URLSearchParams(query);
      params.#changed = changed;
      return [params, (text) => params.#parse(text.startsWith('?') ? text.slice(1) : text)];
    };
  }
  #tell() { this.#changed?.(this.toString()); }
  append(name, value) {
    this.#list.push([String(name).toWellFormed(), String(value).toWellFormed()]);
    this.#tell();
  }
  delete(name, value) {
    this.#list = this.#list.filter(([n, v]) => n !== String(name) || value !== undefined && v !== String(value));
    this.#tell();
  }
  get(name) { return this.#list.find(([n]) => n === String(name))?.[1] ?? null; }
  getAll(name) { return this.#list.filter(([n]) => n === String(name)).map(([, v]) => v); }
  has(name, value) { return this.#list.some(([n, v]) => n === String(name) && (value === undefined || v === String(value))); }
  set(name, value) {
    name = String(name).toWellFormed();
    value = String(value).toWellFormed();
    const first = this.#list.findIndex(([n]) => n === name);
    if (first < 0) this.#list.push([name, value]);
    else {
      this.#list[first][1] = value;
      this.#list = this.#list.filter(([n], i) => i <= first || n !== name);
    }
    this.#tell();
  }
  sort() {
    this.#list.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
    this.#tell();
  }
  get size() { return this.#list.length; }
  *entries() { for (let i = 0; i < this.#list.length; i++) yield [...this.#list[i]]; }
  *keys() { for (const [name] of this.entries()) yield name; }
  *values() { for (const [, value] of this.entries()) yield value; }
  [Symbol.iterator]() { return this.entries(); }
  forEach(callback, self) { for (const [name, value] of this.entries()) callback.call(self, value, name, this); }
  toString() { return this.#list.map(([n, v]) => `${encodeForm1(n)}=${encodeForm1(v)}`).join('&'); }
  get [Symbol.toStringTag]() { return 'URLSearchParams'; }
}

class URL {
  #parts; // href, protocol, username, password, host, hostname, port, pathname, search, hash, origin
  #params = null;
  #reparse = null;
  constructor(url, base) {
    const parts = base === undefined ? host.url(String(url).toWellFormed()) : host.url(String(url).toWellFormed(), String(base).toWellFormed());
    if (parts === null) throw new TypeError(`Invalid URL: ${JSON.stringify(String(url).slice(0, 200))}`);
    this.#parts = parts.split('\n');
  }
  static canParse(url, base) {
    try {
      return Boolean(new URL(url, base));
    } catch {
      return false;
    }
  }
  static parse(url, base) {
    try {
      return new URL(url, base);
    } catch {
      return null;
    }
  }
  #set(name, value) {
    const parts = host.urlSet(this.#parts[0], name, String(value).toWellFormed());
    if (parts === null) {
      if (name === 'href') throw new TypeError(`Invalid URL: ${JSON.stringify(String(value).slice(0, 200))}`);
      return;
    }
    this.#parts = parts.split('\n');
    if (name === 'search' || name === 'href') this.#reparse?.(this.#parts[8]);
  }
  get href() { return this.#parts[0]; }
  set href(v) { this.#set('href', v); }
  get protocol() { return this.#parts[1]; }
  set protocol(v) { this.#set('protocol', v); }
  get username() { return this.#parts[2]; }
  set username(v) { this.#set('username', v); }
  get password() { return this.#parts[3]; }
  set password(v) { this.#set('password', v); }
  get host() { return this.#parts[4]; }
  set host(v) { this.#set('host', v); }
  get hostname() { return this.#parts[5]; }
  set hostname(v) { this.#set('hostname', v); }
  get port() { return this.#parts[6]; }
  set port(v) { this.#set('port', v); }
  get pathname() { return this.#parts[7]; }
  set pathname(v) { this.#set('pathname', v); }
  get search() { return this.#parts[8]; }
  set search(v) { this.#set('search', v); }
  get hash() { return this.#parts[9]; }
  set hash(v) { this.#set('hash', v); }
  get origin() { return this.#parts[10]; }
  get searchParams() {
    if (!this.#params) {
      [this.#params, this.#reparse] = attach(this.#parts[8], (query) => {
        const reparse = this.#reparse;
        this.#reparse = null;
        this.#set('search', query);
        this.#reparse = reparse;
      });
    }
    return this.#params;
  }
  toString() { return this.href; }
  toJSON() { return this.href; }
  get [Symbol.toStringTag]() { return 'URL'; }
}

global('URL', URL);
global('URLSearchParams', URLSearchParams);
