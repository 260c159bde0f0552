// A Vault server with just what its bed tries: Vault's own core and HTTP API, JWT login, the database secrets engine with PostgreSQL,
// and PKI. It is Vault's code as its modules have it; the program around it is ours, since the whole one links every cloud's client.
//
// Usage: server ADDRESS CERTIFICATE KEY ROOT-TOKEN-FILE. In memory, unsealed; the file is written when it is ready to listen.
package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	"github.com/hashicorp/vault/builtin/logical/database"
	"github.com/hashicorp/vault/builtin/logical/pki"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// plugins are those that are linked in.
type plugins struct{}

var linked = map[consts.PluginType]map[string]func() (interface{}, error){
	consts.PluginTypeDatabase:   {"postgresql-database-plugin": postgresql.New},
	consts.PluginTypeCredential: {"jwt": func() (interface{}, error) { return jwt.Factory, nil }},
	consts.PluginTypeSecrets: {
		"database": func() (interface{}, error) { return database.Factory, nil },
		"pki":      func() (interface{}, error) { return pki.Factory, nil },
	},
}

func (plugins) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	plugin, known := linked[kind][name]
	return plugin, known
}

func (p plugins) Contains(name string, kind consts.PluginType) bool {
	_, known := p.Get(name, kind)
	return known
}

func (plugins) Keys(kind consts.PluginType) []string {
	names := []string{}
	for name := range linked[kind] {
		names = append(names, name)
	}
	return names
}

func (p plugins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, p.Contains(name, kind)
}

func (plugins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

// open is a core that is initialized and unsealed, and its root token.
func open(logger hclog.Logger) (*vault.Core, string) {
	storage, err := inmem.NewInmem(nil, logger)
	must(err)
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           storage,
		Logger:             logger,
		DisableMlock:       true,
		BuiltinRegistry:    plugins{},
		CredentialBackends: map[string]logical.Factory{"jwt": jwt.Factory},
		LogicalBackends:    map[string]logical.Factory{"database": database.Factory, "pki": pki.Factory},
	})
	must(err)
	made, err := core.Initialize(context.Background(), &vault.InitParams{
		BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
		RecoveryConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
	})
	must(err)
	_, err = core.Unseal(made.SecretShares[0])
	must(err)
	return core, made.RootToken
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	address, certificate, key, tokenFile := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	core, token := open(hclog.New(&hclog.LoggerOptions{Level: hclog.Info}))
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: &configutil.Listener{}})
	must(os.WriteFile(tokenFile, []byte(token), 0o600))
	must(http.ListenAndServeTLS(address, certificate, key, handler))
}
