To reach code by an operator or a cast, or to define one.
--- refused
select 1 operator(vault.+) 2
--- refused
create operator work.+ (leftarg = int, rightarg = int, function = vault.leak)
--- refused
create cast (int as text) with function vault.leak
--- refused
create aggregate work.a (int) (sfunc = vault.leak, stype = int)
--- refused
create type work.t (input = vault.leak, output = vault.leak)
--- refused
create collation vault.c (locale = 'C')
