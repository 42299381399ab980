import { suite, same, throws, hex, utf8 } from './assert.js';

export default suite({
  'TextEncoder and TextDecoder'() {
    same([...utf8('aü€😀\ud800')], [0x61, 0xc3, 0xbc, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0xef, 0xbf, 0xbd]);
    same(new TextDecoder().decode(utf8('aü€😀\0')), 'aü€😀\0');
    same(new TextDecoder().decode(new Uint8Array([0xe2, 0x82, 0x61, 0xff, 0xf0, 0x9f, 0x98])), '\ufffda\ufffd\ufffd');
    same(new TextDecoder().decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61])), 'a');
    same(new TextDecoder('utf-8', { ignoreBOM: true }).decode(new Uint8Array([0xef, 0xbb, 0xbf, 0x61])), '\ufeffa');
    same(new TextDecoder('utf-16le').decode(new Uint8Array([0x61, 0, 0x3d, 0xd8, 0, 0xde])), 'a😀');
    same(new TextDecoder('latin1').decode(new Uint8Array([0xe9, 0x80])), 'é€');
    const stream = new TextDecoder();
    same(stream.decode(new Uint8Array([0xe2]), { stream: true }) + stream.decode(new Uint8Array([0x82]), { stream: true }) + stream.decode(new Uint8Array([0xac])), '€');
    same(new TextEncoder().encodeInto('a€', new Uint8Array(3)), { read: 1, written: 1 });
    return throws(() => new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array([0xff])), 'TypeError')
      .then(() => throws(() => new TextDecoder('klingon'), 'RangeError', 'klingon'));
  },
  async 'atob and btoa'() {
    same(btoa('hello\xff'), 'aGVsbG//');
    same(atob('aGVsbG//'), 'hello\xff');
    await throws(() => btoa('€'), 'InvalidCharacterError');
    await throws(() => atob('*'), 'InvalidCharacterError');
  },
  async 'digests'() {
    const of = async (name) => hex(await crypto.subtle.digest(name, utf8('abc')));
    same(await of('SHA-1'), 'a9993e364706816aba3e25717850c26c9cd0d89d');
    same(await of('SHA-256'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    same(await of({ name: 'sha-384' }), 'cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7');
    same(await of('SHA-512'), 'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f');
    same(hex(await crypto.subtle.digest('SHA-256', utf8('xabcx').subarray(1, 4))), await of('SHA-256'));
    await throws(() => of('MD5'), 'NotSupportedError', 'MD5');
    await throws(() => crypto.subtle.digest('SHA-1', 'abc'), 'TypeError');
  },
  async 'HMAC'() { // RFC 4231, test case 2
    const hmac = { name: 'HMAC', hash: 'SHA-256' };
    const key = await crypto.subtle.importKey('raw', utf8('Jefe'), hmac, true, ['sign', 'verify']);
    const data = utf8('what do ya want for nothing?');
    const mac = await crypto.subtle.sign('HMAC', key, data);
    same(hex(mac), '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843');
    same(await crypto.subtle.verify('HMAC', key, mac, data), true);
    new Uint8Array(mac)[0] ^= 1;
    same(await crypto.subtle.verify('HMAC', key, mac, data), false);
    same(await crypto.subtle.verify('HMAC', key, mac.slice(0, 5), data), false);
    same(await crypto.subtle.exportKey('jwk', key), { kty: 'oct', k: 'SmVmZQ', alg: 'HS256', key_ops: ['sign', 'verify'], ext: true });
    const again = await crypto.subtle.importKey('jwk', { kty: 'oct', k: 'SmVmZQ' }, hmac, false, ['verify']);
    await throws(() => crypto.subtle.sign('HMAC', again, data), 'InvalidAccessError');
    await throws(() => crypto.subtle.exportKey('raw', again), 'InvalidAccessError');
    await throws(() => crypto.subtle.importKey('raw', utf8('x'), { name: 'AES-GCM' }, false, ['encrypt']), 'NotSupportedError');
    await throws(() => crypto.subtle.importKey('raw', utf8('x'), hmac, false, []), 'SyntaxError');
    same((await crypto.subtle.generateKey(hmac, true, ['sign'])).algorithm.length, 512);
    same(Object.keys(key).includes('bytes'), false);
  },
  async 'random'() {
    const id = crypto.randomUUID();
    same(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id), true);
    same(id === crypto.randomUUID(), false);
    const some = crypto.getRandomValues(new Uint8Array(32));
    same(some.some((b) => b !== 0), true);
    const r = Math.random();
    same(r >= 0 && r < 1 && r !== Math.random(), true);
    await throws(() => crypto.getRandomValues(new Uint8Array(65537)), 'QuotaExceededError');
    await throws(() => crypto.getRandomValues(new Float64Array(1)), 'TypeMismatchError');
  },
  async 'timers'() {
    const order = [];
    await new Promise((done) => {
      setTimeout(() => { order.push('last'); done(); }, 20);
      setTimeout((a, b) => order.push(a + b), 1, 'ti', 'med');
      clearTimeout(setTimeout(() => order.push('never'), 0));
      queueMicrotask(() => order.push('micro'));
      Promise.resolve().then(() => order.push('promise'));
      order.push('now');
    });
    same(order, ['now', 'micro', 'promise', 'timed', 'last']);
    let n = 0;
    await new Promise((done) => {
      const id = setInterval(() => {
        if (++n < 3) return;
        clearInterval(id);
        done();
      }, 1);
    });
    same(n, 3);
    const before = performance.now();
    await new Promise((done) => setTimeout(done, 10));
    same(performance.now() - before >= 9, true);
    await throws(() => setTimeout('code'), 'TypeError', 'expected a function');
  },
  async 'structuredClone'() {
    const date = new Date(0);
    const from = { a: [1, { b: date }], m: new Map([['k', new Set([1])]]), r: /x/g, u: new Uint8Array([1, 2]), n: undefined };
    from.self = from;
    const to = structuredClone(from);
    same(to !== from && to.self === to && to.a[1].b !== date, true);
    same([to.a[1].b.getTime(), [...to.m.get('k')], String(to.r), [...to.u], 'n' in to], [0, [1], '/x/g', [1, 2], true]);
    same(structuredClone(new RangeError('x')).name, 'RangeError');
    await throws(() => structuredClone(() => {}), 'DataCloneError');
    await throws(() => structuredClone({ s: Symbol() }), 'DataCloneError');
  },
  async 'AbortController'() {
    const c = new AbortController();
    let told = 0;
    c.signal.addEventListener('abort', () => told++);
    c.signal.onabort = () => told++;
    c.abort();
    c.abort();
    same([told, c.signal.aborted, c.signal.reason.name], [2, true, 'AbortError']);
    await throws(() => c.signal.throwIfAborted(), 'AbortError');
    await throws(() => fetch('http://a.example/', { signal: AbortSignal.abort(new RangeError('mine')) }), 'RangeError', 'mine');
    const timeout = AbortSignal.any([AbortSignal.timeout(1), new AbortController().signal]);
    await new Promise((done) => timeout.addEventListener('abort', done));
    same(timeout.reason.name, 'TimeoutError');
  },
  async 'what is not granted'() {
    await throws(() => fetch('http://a.example/'), 'TypeError', 'may not ask http://a.example');
    await throws(() => fetch('file:///etc/passwd'), 'TypeError', 'may not ask');
    await throws(() => fetch('/x'), 'TypeError', 'Invalid URL');
    const name = './other.js';
    await throws(() => import(name), 'ReferenceError');
    same([typeof process, typeof Deno, typeof std, typeof os], Array(4).fill('undefined'));
  },
  'environment'(request, env, ctx) {
    same(env.TOKEN, 's3cret');
    same(Object.isFrozen(env), true);
    same(ctx.remoteAddress, '192.0.2.1:1234');
  },
  'newer syntax'() {
    class A { #x = 1; static #count = 0; static { A.#count++; } get x() { return this.#x; } }
    same(new A().x, 1);
    const { a, ...rest } = { a: 1, b: 2, c: 3 };
    same(rest, { b: 2, c: 3 });
    same([[3, 1, 2].toSorted(), [1, 2, 3].at(-1), Object.groupBy([1, 2, 3], (n) => n % 2 ? 'odd' : 'even')], [[1, 2, 3], 3, { odd: [1, 3], even: [2] }]);
    same('a-b-a'.replaceAll('a', 'x'), 'x-b-x');
    same(/(?<y>\d{4})/u.exec('in 2026').groups.y, '2026');
    same(10n ** 20n, 100000000000000000000n);
  },
});
