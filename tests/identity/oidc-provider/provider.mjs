// A certified OpenID provider that exchanges the cluster's tokens for its own (RFC 8693): oidc-provider, with the one grant that it
// lets its users add. Client authentication, discovery, key set, token formats and errors are the library's own.
//
// Usage: provider.mjs PORT CERTIFICATE KEY CLUSTER-ISSUER CLIENT-KEY READY
// NODE_EXTRA_CA_CERTS names the authority of the cluster's issuer; SIDECAR_SECRET is the secret of the client `sidecar`.

import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { Provider, errors } from 'oidc-provider';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const WAREHOUSE = 'urn:warehouse';

const [port, certificate, key, cluster, clientKey, ready] = process.argv.slice(2);
const issuer = `https://localhost:${port}`;
const clusterKeys = createRemoteJWKSet(new URL(`${cluster}/openid/v1/jwks`));

const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const machine = { redirect_uris: [], response_types: [], id_token_signed_response_alg: 'ES256' };

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig' }] },
  clients: [
    { ...machine, client_id: 'sidecar', client_secret: process.env.SIDECAR_SECRET, grant_types: [EXCHANGE] },
    {
      ...machine,
      client_id: 'sidecar-key',
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [createPublicKey(readFileSync(clientKey)).export({ format: 'jwk' })] },
    },
  ],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'RS256'] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: (ctx, resource) => resourceServer(resource) },
  },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  extraTokenClaims: (ctx) => ctx.oidc.exchangedClaims,
  ttl: { AccessToken: 300, ClientCredentials: 300 },
});

// The one thing that tokens are given for.
function resourceServer(name) {
  if (name !== WAREHOUSE) throw new errors.InvalidTarget();
  return { audience: WAREHOUSE, scope: 'read', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
}

async function verifySubject({ subject_token: token, subject_token_type: type }) {
  if (!token || type !== JWT_TYPE) throw new errors.InvalidRequest('a subject token of the type jwt is needed');
  try {
    return (await jwtVerify(token, clusterKeys, { issuer: cluster, audience: 'tollhouse', requiredClaims: ['exp', 'sub'] })).payload;
  } catch (error) {
    console.log(`subject token refused: ${error.code}`);
    throw new errors.InvalidGrant('the subject token was not accepted');
  }
}

async function exchange(ctx) {
  const { client, params } = ctx.oidc;
  const subject = await verifySubject(params);
  const token = new provider.AccessToken({ accountId: subject.sub, client, gty: 'token-exchange', scope: params.scope });
  token.resourceServer = new provider.ResourceServer(params.audience, resourceServer(params.audience));
  ctx.oidc.exchangedClaims = { 'kubernetes.io': subject['kubernetes.io'], act: { sub: client.clientId } };
  ctx.oidc.entity('AccessToken', token);
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: ACCESS_TOKEN_TYPE,
    token_type: token.tokenType,
    expires_in: token.expiration,
  };
  console.log(`exchanged for ${client.clientId}: ${subject.sub}`);
}

provider.registerGrantType(
  EXCHANGE,
  exchange,
  ['audience', 'scope', 'subject_token', 'subject_token_type', 'requested_token_type', 'actor_token', 'actor_token_type'],
  ['audience'],
);
provider.on('grant.error', (ctx, error) => console.log(`refused: ${error.error}: ${error.error_detail ?? error.error_description}`));
provider.on('server_error', (ctx, error) => console.log(error));

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, provider.callback()).listen(port, '127.0.0.1', () => writeFileSync(ready, ''));
