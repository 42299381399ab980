// Answers with its own greeting, which the configuration gives it.
export default {
	fetch(request, env) {
		const { pathname } = new URL(request.url);
		if (pathname === "/healthz") {
			return new Response("well\n");
		}
		return new Response(`${env.GREETING} at ${pathname}\n`);
	},
};
