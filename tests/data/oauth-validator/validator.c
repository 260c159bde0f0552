/* An OAuth validator for the tests: a PostgreSQL 18 that lets a role in by any token whose three parts look like a JWT's.
 * The few declarations are PostgreSQL 18's own ("Dynamic Loading" and "OAuth Validator Callbacks" in its documentation),
 * written out because its headers are not packaged everywhere. */
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

typedef struct {
    int version, funcmaxargs, indexmaxkeys, namedatalen, float8byval;
    char abi_extra[32];
} AbiValues;

typedef struct {
    int len;
    AbiValues abi_fields;
    const char *name, *version;
} Magic;

typedef struct {
    int server_version;
    void *private_data;
} State;

typedef struct {
    bool authorized;
    char *authn_id;
} Result;

typedef struct {
    uint32_t magic;
    void (*startup)(State *);
    void (*shutdown)(State *);
    bool (*validate)(const State *, const char *, const char *, Result *);
} Callbacks;

extern char *pstrdup(const char *);

const Magic *Pg_magic_func(void)
{
    static const Magic magic = {sizeof(Magic), {1800, 100, 32, 64, 1, "PostgreSQL"}, NULL, NULL};
    return &magic;
}

static bool validate(const State *state, const char *token, const char *role, Result *result)
{
    int dots = 0;
    (void) state;
    for (const char *at = token; *at; at++)
        dots += *at == '.';
    result->authorized = dots == 2 && token[0] == 'e' && token[1] == 'y' && token[2] == 'J' && role[0] != 'x';
    result->authn_id = pstrdup(role);
    return true;
}

const Callbacks *_PG_oauth_validator_module_init(void)
{
    static const Callbacks callbacks = {0x20250220, NULL, NULL, validate};
    return &callbacks;
}
