import { suite, same, throws } from './assert.js';

export default suite({
  'parts'() {
    const u = new URL('https://us%20er:pa:ss@EXAMPLE.com:8443/a/./b/../c?x=1&y#frag');
    same([u.href, u.protocol, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash, u.origin],
      ['https://us%20er:pa%3Ass@example.com:8443/a/c?x=1&y#frag', 'https:', 'us%20er', 'pa%3Ass', 'example.com:8443', 'example.com', '8443', '/a/c', '?x=1&y', '#frag', 'https://example.com:8443']);
    same(String(u), u.href);
    same(JSON.stringify({ u }), `{"u":"${u.href}"}`);
  },
  'base'() {
    const of = (ref, base) => new URL(ref, base).href;
    same(of('../x?y', 'http://a.example/b/c/d'), 'http://a.example/b/x?y');
    same(of('//b.example', 'https://a.example/'), 'https://b.example/');
    same(of('?q', 'http://a.example/b?c#d'), 'http://a.example/b?q');
    same(of('#f', new URL('http://a.example/b?c')), 'http://a.example/b?c#f');
    same(of('https://b.example/', 'http://a.example'), 'https://b.example/');
  },
  'normalisation'() {
    const of = (ref) => new URL(ref).href;
    same(of('HTTP://a.example:80'), 'http://a.example/');
    same(of('https:a.example'), 'https://a.example/');
    same(of('http://a.example/%7Efoo/ü x'), 'http://a.example/%7Efoo/%C3%BC%20x');
    same(of('http://bücher.example/'), 'http://xn--bcher-kva.example/');
    same(of('http://0x7f.1/'), 'http://127.0.0.1/');
    same(of('http://[::FFFF:1]/'), 'http://[::ffff:1]/');
    same(of(' \thttp://a.ex\nample/ '), 'http://a.example/');
    same(of('http:\\\\a.example\\x'), 'http://a.example/x');
    same(of('mailto:a@b.example'), 'mailto:a@b.example');
    same(new URL('data:text/plain,x').origin, 'null');
  },
  'what is none'() {
    for (const bad of ['', 'x', '/x', 'http://', 'http://a b/', 'http://a.example:99999/', 'http://[1', 'http://%']) {
      same(URL.canParse(bad), false);
      same(URL.parse(bad), null);
    }
    same(URL.parse('x', 'http://a.example/').href, 'http://a.example/x');
    return throws(() => new URL('x'), 'TypeError', 'Invalid URL: "x"');
  },
  async 'setters'() {
    const u = new URL('http://a.example/b?c#d');
    u.protocol = 'https';
    u.host = 'b.example:81';
    u.pathname = 'x y';
    u.search = 'a=1';
    u.hash = '';
    u.username = 'me';
    same(u.href, 'https://me@b.example:81/x%20y?a=1');
    u.port = '443';
    u.hostname = 'c.example';
    u.search = '';
    same(u.href, 'https://me@c.example/x%20y');
    u.port = 'x';
    same(u.href, 'https://me@c.example/x%20y');
    u.href = 'http://d.example/?q=1';
    same(u.searchParams.get('q'), '1');
    await throws(() => { u.href = 'x'; }, 'TypeError', 'Invalid URL');
  },
  'search parameters follow the URL and it them'() {
    const u = new URL('http://a.example/?a=1&b=2');
    u.searchParams.append('c', 'x y&z');
    same(u.href, 'http://a.example/?a=1&b=2&c=x+y%26z');
    u.searchParams.delete('a');
    u.search = '?d=4';
    same([...u.searchParams], [['d', '4']]);
    u.searchParams.delete('d');
    same(u.href, 'http://a.example/');
  },
  'URLSearchParams'() {
    const p = new URLSearchParams('?a=1&b=%C3%BC+x&a=2&c&=d&%zz=%E2%82&&e=f=g');
    same([...p], [['a', '1'], ['b', 'ü x'], ['a', '2'], ['c', ''], ['', 'd'], ['%zz', '\ufffd'], ['e', 'f=g']]);
    same(p.get('a'), '1');
    same(p.get('none'), null);
    same(p.getAll('a'), ['1', '2']);
    same([p.has('a', '2'), p.has('a', '3'), p.size], [true, false, 7]);
    p.set('a', '9');
    same(p.getAll('a'), ['9']);
    p.delete('e', 'other');
    same(p.has('e'), true);
    same(new URLSearchParams({ 'a b': '*-._~!\'()', ü: '\ud800' }).toString(), 'a+b=*-._%7E%21%27%28%29&%C3%BC=%EF%BF%BD');
    same(new URLSearchParams([['b', '1'], ['a', '2'], ['b', '0']]).toString(), 'b=1&a=2&b=0');
    const sorted = new URLSearchParams('b=1&a=2&b=0');
    sorted.sort();
    same(sorted.toString(), 'a=2&b=1&b=0');
    same([...new URLSearchParams(p).keys()].length, 6);
    return throws(() => new URLSearchParams([['a']]), 'TypeError', 'pairs');
  },
});
