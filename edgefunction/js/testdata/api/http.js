import { suite, same, throws, utf8 } from './assert.js';

export default suite({
  async 'Headers'() {
    const h = new Headers({ 'Content-Type': ' text/plain\t', b: '1' });
    h.append('B', '2');
    h.append('set-cookie', 'x=1');
    h.append('Set-Cookie', 'y=2');
    same(h.get('CONTENT-TYPE'), 'text/plain');
    same(h.get('b'), '1, 2');
    same(h.get('none'), null);
    same(h.getSetCookie(), ['x=1', 'y=2']);
    same([...h], [['b', '1, 2'], ['content-type', 'text/plain'], ['set-cookie', 'x=1'], ['set-cookie', 'y=2']]);
    same([...h.keys()], ['b', 'content-type', 'set-cookie', 'set-cookie']);
    h.delete('B');
    same(h.has('b'), false);
    const copy = new Headers(h);
    copy.set('content-type', 'x');
    same(h.get('content-type'), 'text/plain');
    same([...new Headers([['a', '1'], ['a', '2']])], [['a', '1, 2']]);
    same([...new Headers(new Map([['a', '1']]))], [['a', '1']]);
    await throws(() => new Headers({ 'a b': '1' }), 'TypeError', 'field name');
    await throws(() => new Headers({ '': '1' }), 'TypeError', 'field name');
    await throws(() => new Headers({ a: 'x\r\ny: z' }), 'TypeError', 'field value');
    await throws(() => new Headers({ a: '\u0100' }), 'TypeError', 'field value');
    await throws(() => new Headers([['a']]), 'TypeError', 'pairs');
    await throws(() => new Headers('a: b'), 'TypeError', 'pairs');
  },
  async 'Request'(incoming) {
    const r = new Request('https://a.example/x#y', { method: 'post', headers: { a: '1' }, body: 'hi' });
    same([r.method, r.url, r.headers.get('content-type'), r.bodyUsed], ['POST', 'https://a.example/x#y', 'text/plain;charset=UTF-8', false]);
    const copy = r.clone();
    same(await r.text(), 'hi');
    same(r.bodyUsed, true);
    same(await copy.text(), 'hi');
    await throws(() => r.text(), 'TypeError', 'read already');
    await throws(() => r.clone(), 'TypeError', 'read already');
    const changed = new Request(new Request('http://a.example/', { method: 'PUT', body: 'x' }), { headers: { b: '2' } });
    same([changed.method, changed.headers.get('b'), await changed.text()], ['PUT', '2', 'x']);
    same(new Request('http://a.example', { method: 'patch' }).method, 'patch');
    await throws(() => new Request('/x'), 'TypeError', 'Invalid URL');
    await throws(() => new Request('http://a.example', { body: 'x' }), 'TypeError', 'a GET has no body');
    await throws(() => new Request('http://a.example', { method: 'CONNECT' }), 'TypeError', 'no method');
    await throws(() => new Request('http://a.example', { method: 'a b' }), 'TypeError', 'no method');
    await throws(() => new Request('http://u:p@a.example'), 'TypeError', 'password');
    await throws(() => incoming.headers.set('a', 'b'), 'TypeError', 'immutable');
    same(new Headers(incoming.headers).has('host'), true);
  },
  async 'Response'() {
    const r = new Response('ü', { status: 201, statusText: 'Made', headers: { a: 'b' } });
    same([r.status, r.statusText, r.ok, r.type, r.url, r.redirected], [201, 'Made', true, 'default', '', false]);
    same(r.headers.get('content-type'), 'text/plain;charset=UTF-8');
    same(await r.clone().text(), 'ü');
    same([...await r.bytes()], [0xc3, 0xbc]);
    same(new Response('x', { headers: { 'content-type': 'text/html' } }).headers.get('content-type'), 'text/html');
    same(new Response(null).headers.get('content-type'), null);
    const json = Response.json({ a: [1] }, { status: 404 });
    same([json.status, json.ok, json.headers.get('content-type'), await json.text()], [404, false, 'application/json', '{"a":[1]}']);
    const redirect = Response.redirect('https://a.example/b', 308);
    same([redirect.status, redirect.headers.get('location')], [308, 'https://a.example/b']);
    same(Response.error().status, 0);
    await throws(() => new Response('', { status: 99 }), 'RangeError', '200 to 599');
    await throws(() => new Response('', { status: 101 }), 'RangeError', '200 to 599');
    await throws(() => new Response('x', { status: 204 }), 'TypeError', 'no body');
    await throws(() => Response.redirect('x'), 'TypeError', 'Invalid URL');
    await throws(() => Response.redirect('http://a.example', 200), 'RangeError');
    await throws(() => Response.json(undefined), 'TypeError', 'JSON');
  },
  async 'bodies'() {
    same(await new Response(utf8('a').buffer).text(), 'a');
    same(await new Response(utf8('xaby').subarray(1, 3)).text(), 'ab');
    same(await new Response(new URLSearchParams({ a: 'b c' })).text(), 'a=b+c');
    same(await new Response('{"a":1}').json(), { a: 1 });
    same((await new Response('abc').arrayBuffer()).byteLength, 3);
    same(await new Response(new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0xff])).text(), 'a\ufffd');
    same(await new Response(null).text(), '');
    same(await new Response(42).text(), '42');
    same((await new Response('ab', { headers: { 'content-type': 'a/b' } }).blob()).type, 'a/b');
    await throws(() => new Response('{').json(), 'SyntaxError');
    const bytes = utf8('before');
    const r = new Response(bytes);
    bytes.fill(0);
    same(await r.text(), 'before');
  },
  async 'streams'() {
    const numbers = () => new ReadableStream({
      start(c) { this.n = 0; },
      pull(c) { if (++this.n > 3) c.close(); else c.enqueue(utf8(String(this.n))); },
    });
    same(await new Response(numbers()).text(), '123');
    let all = '';
    for await (const chunk of numbers()) all += new TextDecoder().decode(chunk) + ',';
    same(all, '1,2,3,');
    const [one, other] = numbers().tee();
    same([await new Response(one).text(), await new Response(other).text()], ['123', '123']);
    const r = new Response('whole');
    const reader = r.body.getReader();
    same(new TextDecoder().decode((await reader.read()).value), 'whole');
    same((await reader.read()).done, true);
    same(r.bodyUsed, true);
    await throws(() => r.text(), 'TypeError', 'read already');
    same(await new Response(new Response('through').body).text(), 'through');
    same(await new Response(ReadableStream.from(['a', 'b'])).text(), 'ab');
    const failing = new ReadableStream({ pull() { throw new RangeError('dry'); } });
    await throws(() => new Response(failing).text(), 'RangeError', 'dry');
    let cancelled;
    const cancel = new ReadableStream({ cancel(why) { cancelled = why; } });
    await cancel.cancel('enough');
    same(cancelled, 'enough');
    await throws(() => { const s = numbers(); s.getReader(); s.getReader(); }, 'TypeError', 'locked');
  },
  async 'forms'() {
    const form = new FormData();
    form.append('a', 'ü "1"');
    form.append('f', new File(['con', 'tent'], 'x.txt', { type: 'text/plain' }));
    form.append('a', '2');
    const r = new Response(form);
    same(r.headers.get('content-type').startsWith('multipart/form-data; boundary='), true);
    const back = await r.formData();
    same(back.getAll('a'), ['ü "1"', '2']);
    same([back.get('f').name, back.get('f').type, await back.get('f').text()], ['x.txt', 'text/plain', 'content']);
    const plain = await new Response(new URLSearchParams('a=1&b=2')).formData();
    same([...plain], [['a', '1'], ['b', '2']]);
    await throws(() => new Response('x').formData(), 'TypeError', 'content-type');
    await throws(() => new Response('x', { headers: { 'content-type': 'multipart/form-data; boundary=b' } }).formData(), 'TypeError', 'not multipart');
    same(await new Blob(['a', utf8('b'), new Blob(['c'])]).slice(1).text(), 'bc');
  },
});
