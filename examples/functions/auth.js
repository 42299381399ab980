// Lets requests with a valid token through to the site behind it, and tells it who
// asks. A token is a name, a dot, and the HMAC-SHA-256 of the name in base64url:
//
//	printf ann | openssl dgst -sha256 -hmac "$SECRET" -binary | basenc --base64url | tr -d =
//
// In a Caddyfile: edgefunction auth ./auth.js { env SECRET … }, then the site's handler.

const challenge = { status: 401, headers: { 'www-authenticate': 'Bearer' } };

const fromBase64url = (text) =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));

async function nameOf(token, secret) {
  const dot = token.lastIndexOf('.');
  const name = token.slice(0, dot);
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', new TextEncoder().encode(secret), algorithm, false, ['verify']);
  let mac;
  try {
    mac = fromBase64url(token.slice(dot + 1));
  } catch {
    return null; // not base64
  }
  const valid = await crypto.subtle.verify('HMAC', key, mac, new TextEncoder().encode(name));
  return dot > 0 && valid ? name : null;
}

export default {
  async fetch(request, env) {
    if (!env.SECRET) throw new Error('the environment has no SECRET');
    const [, token] = /^Bearer (\S+)$/i.exec(request.headers.get('authorization') ?? '') ?? [];
    if (!token) return new Response('A token is needed.\n', challenge);
    const name = await nameOf(token, env.SECRET);
    if (name === null) return new Response('The token is not valid.\n', challenge);

    // A request in place of a response is handed on to what follows. To hand the
    // request on as it came, return nothing.
    const headers = new Headers(request.headers);
    headers.set('x-user', name);
    headers.delete('authorization');
    return new Request(request, { headers });
  },
};
