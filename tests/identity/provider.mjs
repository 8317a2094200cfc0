// The real identity provider of the tests. Reads its configuration as JSON from standard input:
//   port, keys (private JWKs, the first one signs), audience, scopes, life_s,
//   clients (client_id, jwks, roles, workspace, redirect_uris), users {id: {roles, workspace}},
//   pages (client_id, address): public clients, which run in a browser at that address
// and writes one line when it listens. It ends with its standard input.
import Provider from 'oidc-provider'

process.stdin.setEncoding('utf8')
let text = ''
for await (const part of process.stdin) {
  text += part
  if (text.endsWith('\n')) break
}
const config = JSON.parse(text)
const issuer = `http://127.0.0.1:${config.port}`
const clients = Object.fromEntries(config.clients.map((client) => [client.client_id, client]))
const algorithms = ['ES384', 'RS384']

function resource(indicator) {
  return {
    scope: config.scopes,
    audience: indicator,
    accessTokenTTL: config.life_s,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: config.keys[0].alg, kid: config.keys[0].kid } },
  }
}

const pages = config.pages.map(({ client_id, address }) => ({
  client_id,
  redirect_uris: [address],
  post_logout_redirect_uris: [address],
  response_types: ['code'],
  grant_types: ['authorization_code', 'refresh_token'],
  token_endpoint_auth_method: 'none',
  id_token_signed_response_alg: config.keys[0].alg,
}))
const machines = config.clients.map(({ client_id, jwks, redirect_uris }) => ({
  client_id,
  jwks,
  redirect_uris: redirect_uris ?? [],
  response_types: redirect_uris ? ['code'] : [],
  grant_types: redirect_uris ? ['authorization_code'] : ['client_credentials'],
  token_endpoint_auth_method: 'private_key_jwt',
  token_endpoint_auth_signing_alg: jwks.keys[0].kty === 'EC' ? 'ES384' : 'RS384',
  id_token_signed_response_alg: config.keys[0].alg,
}))
const provider = new Provider(issuer, {
  clients: [...machines, ...pages],
  clientBasedCORS: (ctx, origin, client) => pages.some((page) => page.client_id === client.clientId),
  jwks: { keys: config.keys },
  cookies: { keys: ['of the tests'] },
  enabledJWA: {
    clientAuthSigningAlgValues: algorithms,
    idTokenSigningAlgValues: [config.keys[0].alg],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => config.audience,
      useGrantedResource: async () => true,
      getResourceServerInfo: async (ctx, indicator) => resource(indicator),
    },
  },
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  extraTokenClaims: async (ctx, token) => {
    const holder = token.accountId ? config.users[token.accountId] : clients[token.clientId]
    return { roles: holder?.roles, workspace: holder?.workspace }
  },
})
provider.listen(config.port, '127.0.0.1', () => console.log('listening'))
process.stdin.on('end', () => process.exit(0)).resume()
