create schema app;
create schema fin;
create table app.t1 (id int primary key, a int, b text);
create table app.t2 (id int primary key, t1_id int references app.t1 (id), c text);
create table app."Mixed" (id int, "A b" text);
create table app.u (id serial, n int default 1);
create table public.t1 (id int, p text);
create table public.only_public (id int, p text);
create table fin.secret (id int, v text);
create table app.part (id int, k int) partition by list (k);
create table app.part_1 partition of app.part for values in (1);
create table app.part_2 partition of app.part for values in (2);
create view app.secret_view as select * from fin.secret;
create materialized view app.mv as select id, v from fin.secret;
create index t1_a on app.t1 (a);
create sequence app.s;
create type app.mood as enum ('ok');
create function app.leak() returns bigint language sql as 'select count(*) from fin.secret';
create role oracle_other;
insert into app.t1 select n, n % 3, 'x' from generate_series(1, 5) n;
insert into app.t2 values (1, 1, 'c');
insert into app."Mixed" values (1, 'm');
insert into app.u values (1);
insert into public.t1 values (1, 'p');
insert into public.only_public values (1, 'p');
insert into fin.secret values (1, 's'), (2, 't');
insert into app.part values (1, 1), (2, 2);
create schema ledger;
create table ledger.definitions (kind text, identity text);
create function ledger.ended() returns event_trigger language plpgsql security definer as $$
begin
  insert into ledger.definitions select object_type, object_identity from pg_catalog.pg_event_trigger_ddl_commands();
end $$;
create function ledger.dropped() returns event_trigger language plpgsql security definer as $$
begin
  insert into ledger.definitions select object_type, object_identity from pg_catalog.pg_event_trigger_dropped_objects() where original;
end $$;
create event trigger ledger_ended on ddl_command_end execute function ledger.ended();
create event trigger ledger_dropped on sql_drop execute function ledger.dropped();
alter database oracle set search_path = app, public;
