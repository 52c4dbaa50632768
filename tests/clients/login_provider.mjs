// A login provider for test_oidc.py: npm's oidc-provider, a certified implementation, whose users are whoever they say.
//
//     node login_provider.mjs <folder with node_modules> <port> <redirect URI>
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';

const [folder, port, redirectUri] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(resolve(folder, 'node_modules/oidc-provider/lib/index.js')).href);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: 'berth', client_secret: 'secret-of-the-client', redirect_uris: [redirectUri] }],
  claims: { openid: ['sub'], email: ['email'], profile: ['name', 'groups'] },
  // The login form's name is `<name>` or `<name>@<group>`.
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: id.split('@')[0],
      email: `${id.split('@')[0]}@example.com`,
      groups: id.split('@').slice(1),
    }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'));
