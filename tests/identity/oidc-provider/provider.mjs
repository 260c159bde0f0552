// A certified OpenID provider that takes the cluster's tokens for its own, by token exchange (RFC 8693) and as the grant itself
// (RFC 7523): oidc-provider, with grants that it lets its users add. Client authentication, also by a TLS certificate, tokens that are
// bound to it, discovery, key set, token formats and errors are the library's own.
//
// Usage: provider.mjs PORT CERTIFICATE KEY CLUSTER-ISSUER CLIENT-KEY CLIENT-CA READY
// CLIENT-CA is the authority whose certificates clients may show. NODE_EXTRA_CA_CERTS names the authority of the cluster's issuer; SIDECAR_SECRET is the secret of the client `sidecar`.

import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { Provider, errors } from 'oidc-provider';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
const WAREHOUSE = 'urn:warehouse';

const [port, certificate, key, cluster, clientKey, clientAuthority, ready] = process.argv.slice(2);
const issuer = `https://localhost:${port}`;
const clusterKeys = createRemoteJWKSet(new URL(`${cluster}/openid/v1/jwks`));

const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const machine = { redirect_uris: [], response_types: [], id_token_signed_response_alg: 'ES256' };

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...signing, alg: 'ES256', use: 'sig' }] },
  clients: [
    { ...machine, client_id: 'sidecar', client_secret: process.env.SIDECAR_SECRET, grant_types: [EXCHANGE, BEARER] },
    {
      ...machine,
      client_id: 'sidecar-key',
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [createPublicKey(readFileSync(clientKey)).export({ format: 'jwk' })] },
    },
    {
      ...machine,
      client_id: 'sidecar-tls',
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=sidecar-tls',
      tls_client_certificate_bound_access_tokens: true,
    },
  ],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256', 'RS256'] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => ctx.req.socket.getPeerX509Certificate(),
      certificateAuthorized: (ctx) => ctx.req.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => {
        const { subject } = ctx.req.socket.getPeerX509Certificate();
        console.log(`certificate shown: ${subject}`);
        return property === 'tls_client_auth_subject_dn' && subject === expected;
      },
    },
    resourceIndicators: { enabled: true, getResourceServerInfo: (ctx, resource) => resourceServer(resource) },
  },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'none'],
  extraTokenClaims: (ctx) => ctx.oidc.exchangedClaims,
  ttl: { AccessToken: 300, ClientCredentials: 300 },
});

// The one thing that tokens are given for.
function resourceServer(name) {
  if (name !== WAREHOUSE) throw new errors.InvalidTarget();
  return { audience: WAREHOUSE, scope: 'read', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
}

async function verified(token) {
  try {
    return (await jwtVerify(token, clusterKeys, { issuer: cluster, audience: 'tollhouse', requiredClaims: ['exp', 'sub'] })).payload;
  } catch (error) {
    console.log(`subject token refused: ${error.code}`);
    throw new errors.InvalidGrant('the subject token was not accepted');
  }
}

// The answer that is a token for the subject.
async function give(ctx, subject, gty, audience, claims) {
  const { client, params } = ctx.oidc;
  const token = new provider.AccessToken({ accountId: subject.sub, client, gty, scope: params.scope });
  token.resourceServer = new provider.ResourceServer(audience, resourceServer(audience));
  ctx.oidc.exchangedClaims = { 'kubernetes.io': subject['kubernetes.io'], ...claims };
  ctx.oidc.entity('AccessToken', token);
  ctx.body = { access_token: await token.save(), token_type: token.tokenType, expires_in: token.expiration };
}

async function exchange(ctx) {
  const { client, params } = ctx.oidc;
  if (!params.subject_token || params.subject_token_type !== JWT_TYPE) throw new errors.InvalidRequest('a subject token of the type jwt is needed');
  const subject = await verified(params.subject_token);
  await give(ctx, subject, 'token-exchange', params.audience, { act: { sub: client.clientId } });
  ctx.body.issued_token_type = ACCESS_TOKEN_TYPE;
  console.log(`exchanged for ${client.clientId}: ${subject.sub}`);
}

async function bearer(ctx) {
  const subject = await verified(ctx.oidc.params.assertion);
  await give(ctx, subject, 'jwt-bearer', WAREHOUSE, {});
  console.log(`granted to ${ctx.oidc.client.clientId}: ${subject.sub}`);
}

provider.registerGrantType(
  EXCHANGE,
  exchange,
  ['audience', 'scope', 'subject_token', 'subject_token_type', 'requested_token_type', 'actor_token', 'actor_token_type'],
  ['audience'],
);
provider.registerGrantType(BEARER, bearer, ['assertion', 'scope']);
provider.on('grant.error', (ctx, error) => console.log(`refused: ${error.error}: ${error.error_detail ?? error.error_description}`));
provider.on('server_error', (ctx, error) => console.log(error));

// A certificate is asked for, and judged where a client is proven by it.
const tls = { cert: readFileSync(certificate), key: readFileSync(key), ca: readFileSync(clientAuthority), requestCert: true, rejectUnauthorized: false };
createServer(tls, provider.callback()).listen(port, '127.0.0.1', () => writeFileSync(ready, ''));
