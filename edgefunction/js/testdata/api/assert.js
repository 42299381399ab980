// suite makes a function of tests by name: /?name runs one, / lists them.
export const suite = (tests) => ({
  async fetch(request, env, ctx) {
    const name = decodeURIComponent(new URL(request.url).search.slice(1));
    if (name === '') return Response.json(Object.keys(tests));
    await tests[name](request, env, ctx);
    return new Response('ok');
  },
});

const say = (value) => typeof value === 'string' ? JSON.stringify(value) : value instanceof Error ? String(value) : JSON.stringify(value) ?? String(value);

// same fails unless both are the same, in JSON where they are objects.
export function same(got, want) {
  const alike = typeof want === 'object' && want !== null ? JSON.stringify(got) === JSON.stringify(want) : Object.is(got, want);
  if (!alike) throw new Error(`got ${say(got)}, want ${say(want)}`);
}

// throws fails unless f throws, or rejects with, an error of a name whose message has text.
export async function throws(f, name, text = '') {
  try {
    await f();
  } catch (e) {
    same(e.name, name);
    if (!e.message.includes(text)) throw new Error(`got ${say(e.message)}, want ${say(text)} in it`);
    return;
  }
  throw new Error(`nothing was thrown, want ${name}`);
}

export const hex = (data) => Array.from(new Uint8Array(data), (b) => b.toString(16).padStart(2, '0')).join('');
export const utf8 = (text) => new TextEncoder().encode(text);
