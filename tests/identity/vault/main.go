package main

import (
	_ "github.com/hashicorp/vault-plugin-auth-jwt"
	_ "github.com/hashicorp/vault/builtin/logical/database"
	_ "github.com/hashicorp/vault/builtin/logical/pki"
	_ "github.com/hashicorp/vault/http"
	_ "github.com/hashicorp/vault/plugins/database/postgresql"
	_ "github.com/hashicorp/vault/sdk/physical/inmem"
	_ "github.com/hashicorp/vault/vault"
)

func main() {}
