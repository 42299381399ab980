// crypto: random numbers, digests and HMAC, which the host computes.

const hashes = new Map([['SHA-1', 64], ['SHA-256', 64], ['SHA-384', 128], ['SHA-512', 128]]); // with the size of their blocks

function hashName(algorithm) {
  const name = String(typeof algorithm === 'object' && algorithm !== null ? algorithm.name : algorithm).toUpperCase();
  if (!hashes.has(name)) throw new DOMException(`crypto: ${JSON.stringify(name.slice(0, 100))}: expected SHA-1, SHA-256, SHA-384 or SHA-512`, 'NotSupportedError');
  return name;
}

function hmacOnly(algorithm) {
  const name = String(typeof algorithm === 'object' && algorithm !== null ? algorithm.name : algorithm);
  if (name.toUpperCase() !== 'HMAC') throw new DOMException(`crypto: ${JSON.stringify(name.slice(0, 100))}: expected HMAC`, 'NotSupportedError');
}

function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError('crypto: expected an ArrayBuffer or a view of one');
}

let keyBytes;

class CryptoKey {
  #bytes;
  constructor(key, bytes, hash, extractable, usages) {
    if (key !== internal) throw new TypeError('Illegal constructor');
    this.#bytes = bytes.slice();
    this.type = 'secret';
    this.extractable = Boolean(extractable);
    this.algorithm = Object.freeze({ name: 'HMAC', hash: Object.freeze({ name: hash }), length: bytes.length * 8 });
    this.usages = Object.freeze([...usages]);
    Object.freeze(this);
  }
  static { keyBytes = (key) => key.#bytes; }
}

function hmac(key, usage, algorithm, data) {
  hmacOnly(algorithm);
  if (!(key instanceof CryptoKey) || !key.usages.includes(usage)) throw new DOMException(`crypto: expected a key that may be used to ${usage}`, 'InvalidAccessError');
  return host.hmac(key.algorithm.hash.name, exact(keyBytes(key)), exact(bytesOf(data)));
}

function newKey(bytes, algorithm, extractable, usages) {
  hmacOnly(algorithm);
  usages = [...usages];
  if (usages.length === 0 || usages.some((u) => u !== 'sign' && u !== 'verify')) throw new DOMException('crypto: usages: expected sign, verify or both', 'SyntaxError');
  if (bytes.length === 0) throw new DOMException('crypto: the key is empty', 'DataError');
  return new CryptoKey(internal, bytes, hashName(algorithm.hash), extractable, usages);
}

const unbase64url = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

const subtle = {
  async digest(algorithm, data) { return host.digest(hashName(algorithm), exact(bytesOf(data))); },
  async importKey(format, data, algorithm, extractable, usages) {
    if (format === 'raw') return newKey(bytesOf(data), algorithm, extractable, usages);
    if (format !== 'jwk') throw new DOMException('crypto: format: expected raw or jwk', 'NotSupportedError');
    if (data?.kty !== 'oct' || typeof data.k !== 'string') throw new DOMException('crypto: jwk: expected kty oct and k', 'DataError');
    return newKey(unbase64url(data.k), algorithm, extractable, usages);
  },
  async exportKey(format, key) {
    if (!(key instanceof CryptoKey) || !key.extractable) throw new DOMException('crypto: the key is not extractable', 'InvalidAccessError');
    if (format === 'raw') return keyBytes(key).slice().buffer;
    if (format !== 'jwk') throw new DOMException('crypto: format: expected raw or jwk', 'NotSupportedError');
    return { kty: 'oct', k: base64url(keyBytes(key)), alg: 'HS' + key.algorithm.hash.name.slice(4), key_ops: [...key.usages], ext: true };
  },
  async generateKey(algorithm, extractable, usages) {
    hmacOnly(algorithm);
    inRequest('crypto.subtle.generateKey');
    const bits = algorithm.length ?? hashes.get(hashName(algorithm.hash)) * 8;
    if (!(bits > 0 && bits <= 65536 && bits % 8 === 0)) throw new DOMException('crypto: length: expected whole bytes, in bits', 'OperationError');
    return newKey(new Uint8Array(host.random(`${bits / 8}`)), algorithm, extractable, usages);
  },
  async sign(algorithm, key, data) { return hmac(key, 'sign', algorithm, data); },
  async verify(algorithm, key, signature, data) { return subtle.timingSafeEqual(signature, hmac(key, 'verify', algorithm, data)); },
  timingSafeEqual(a, b) { return host.equal(exact(bytesOf(a)), exact(bytesOf(b))) === 'yes'; },
};

global('crypto', {
  subtle,
  getRandomValues(view) {
    inRequest('crypto.getRandomValues');
    if (!ArrayBuffer.isView(view) || view instanceof DataView || /^Float/.test(view.constructor.name)) throw new DOMException('crypto.getRandomValues: expected an array of integers', 'TypeMismatchError');
    if (view.byteLength > 65536) throw new DOMException('crypto.getRandomValues: expected at most 65536 bytes', 'QuotaExceededError');
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(new Uint8Array(host.random(`${view.byteLength}`)));
    return view;
  },
  randomUUID() {
    inRequest('crypto.randomUUID');
    const b = new Uint8Array(host.random('16'));
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    const hex = Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  },
});
global('CryptoKey', CryptoKey);

// All instances begin as copies of one: what Math.random draws from is the host's, and
// is drawn anew in each.
let pool = null, drawn = 0;
Math.random = () => {
  if (serial === 0) pool = null;
  if (!pool || drawn + 2 > pool.length) {
    pool = new Uint32Array(host.random('1024'));
    drawn = 0;
  }
  return (pool[drawn++] * 2 ** 21 + (pool[drawn++] >>> 11)) / 2 ** 53;
};
function forgetRandom() { pool = null; }
