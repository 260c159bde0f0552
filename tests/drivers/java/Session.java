import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/**
 * A session of PostgreSQL's JDBC driver, in the extended protocol and in the simple one.
 *
 * <p>Usage: Session.java HOST PORT [DATABASE [USER]]; prints {@code ok jdbc PART} for each, ends with 1 at the first failure.
 */
public final class Session {
    private static final String REFUSED = "select * from finance.salaries";
    private static final int ROWS = 100_000;
    private static final String PARAMETER = "tollhouse".repeat(600_000); // over 5 MB

    private interface Part {
        void run(Connection connection) throws Exception;
    }

    private interface Attempt {
        void run() throws Exception;
    }

    private static Map<String, Part> parts() {
        var parts = new LinkedHashMap<String, Part>();
        parts.put("prepared statements", Session::preparedStatements);
        parts.put("cursor", Session::cursor);
        parts.put("batch", Session::batch);
        parts.put("copy in and out", Session::copyInAndOut);
        parts.put("cancel", Session::cancel);
        parts.put("query timeout", Session::queryTimeout);
        parts.put("error in a transaction", connection -> inTransaction(connection, "select 1 / 0", "22012"));
        parts.put("refusal", connection -> inTransaction(connection, REFUSED, "42501"));
        parts.put("refusal in a batch", Session::refusalInABatch);
        parts.put("large result", Session::largeResult);
        parts.put("large parameter", Session::largeParameter);
        parts.put("metadata", Session::metadata);
        return parts;
    }

    /** From the fifth execution on the driver names the statement on the server. */
    private static void preparedStatements(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("select ?::integer + 2")) {
            for (int n = 0; n < 12; n++) {
                statement.setInt(1, n);
                equal(n + 2, one(statement));
            }
        }
    }

    /** A portal that is executed a thousand rows at a time. */
    private static void cursor(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(1000);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("select generate_series(1, 10000)")) {
                while (rows.next()) {
                    sum += rows.getInt(1);
                }
            }
            equal(50_005_000L, sum);
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void batch(Connection connection) throws SQLException {
        execute(connection, "create temporary table jdbc_batch (id integer, note text)");
        try (PreparedStatement statement = connection.prepareStatement("insert into jdbc_batch values (?, ?)")) {
            for (int n = 0; n < 1000; n++) {
                statement.setInt(1, n);
                statement.setString(2, "line " + n);
                statement.addBatch();
            }
            equal(1000, Arrays.stream(statement.executeBatch()).sum());
        }
        equal(1000, one(connection, "select count(*) from jdbc_batch"));
        execute(connection, "drop table jdbc_batch");
    }

    private static void copyInAndOut(Connection connection) throws Exception {
        execute(connection, "create temporary table jdbc_copy (id integer, note text)");
        CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
        String lines = IntStream.range(0, 20_000).mapToObj(n -> n + "\tline " + n + "\n").collect(Collectors.joining());
        equal(20_000L, copy.copyIn("copy jdbc_copy from stdin", new StringReader(lines)));
        var out = new ByteArrayOutputStream();
        equal(20_000L, copy.copyOut("copy (select * from jdbc_copy order by id) to stdout", out));
        equal(lines, out.toString(StandardCharsets.UTF_8));
        execute(connection, "drop table jdbc_copy");
    }

    private static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            var timer = new Timer(true);
            timer.schedule(new TimerTask() {
                @Override
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException error) {
                        error.printStackTrace();
                    }
                }
            }, 500);
            cancelled(() -> statement.executeQuery("select pg_sleep(30)"));
        }
        equal(1, one(connection, "select 1"));
    }

    private static void queryTimeout(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            cancelled(() -> statement.executeQuery("select pg_sleep(30)"));
        }
        equal(1, one(connection, "select 1"));
    }

    private static void cancelled(Attempt attempt) throws Exception {
        long started = System.nanoTime();
        fails("57014", attempt);
        equal(true, System.nanoTime() - started < 15_000_000_000L);
    }

    /** A refusal is an error like any other: the transaction fails, a savepoint brings it back. */
    private static void inTransaction(Connection connection, String failing, String sqlstate) throws Exception {
        connection.setAutoCommit(false);
        Savepoint before = connection.setSavepoint();
        fails(sqlstate, () -> execute(connection, failing));
        fails("25P02", () -> execute(connection, "select 2"));
        connection.rollback(before);
        equal(3, one(connection, "select 3"));
        connection.commit();
        connection.setAutoCommit(true);
    }

    private static void refusalInABatch(Connection connection) throws Exception {
        execute(connection, "create temporary table jdbc_refused (id integer)");
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("insert into jdbc_refused values (1)");
            statement.addBatch("delete from finance.salaries");
            statement.addBatch("insert into jdbc_refused values (2)");
            fails("42501", statement::executeBatch);
        }
        connection.rollback();
        connection.setAutoCommit(true);
        equal(0, one(connection, "select count(*) from jdbc_refused"));
        execute(connection, "drop table jdbc_refused");
    }

    private static void largeResult(Connection connection) throws SQLException {
        String sql = "select n, repeat('x', 100) from generate_series(1, " + ROWS + ") as n";
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            int count = 0;
            while (rows.next()) {
                count++;
                equal(count, rows.getInt(1));
                equal(100, rows.getString(2).length());
            }
            equal(ROWS, count);
        }
    }

    private static void largeParameter(Connection connection) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement("select length(?::text)")) {
            statement.setString(1, PARAMETER);
            equal(PARAMETER.length(), one(statement));
        }
    }

    /** What tools with a JDBC connection ask first; the driver writes the catalog queries. */
    private static void metadata(Connection connection) throws SQLException {
        try (ResultSet tables = connection.getMetaData().getTables(null, "pg_catalog", "pg_class", null)) {
            equal(true, tables.next());
            equal("pg_class", tables.getString("TABLE_NAME"));
        }
        try (ResultSet columns = connection.getMetaData().getColumns(null, "pg_catalog", "pg_class", "relname")) {
            equal(true, columns.next());
            equal("name", columns.getString("TYPE_NAME"));
        }
    }

    private static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    private static int one(Connection connection, String sql) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            return one(statement);
        }
    }

    private static int one(PreparedStatement statement) throws SQLException {
        try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getInt(1);
        }
    }

    private static void equal(Object expected, Object actual) {
        if (!expected.equals(actual)) {
            throw new AssertionError("expected " + expected + ", got " + actual);
        }
    }

    private static void fails(String sqlstate, Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (SQLException error) {
            equal(sqlstate, error.getSQLState());
            return;
        }
        throw new AssertionError(sqlstate + " did not arrive");
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2) {
            System.err.println("Usage: Session.java HOST PORT [DATABASE [USER]]");
            System.exit(1);
        }
        String database = arguments.length > 2 ? arguments[2] : "demo";
        var properties = new Properties();
        properties.setProperty("user", arguments.length > 3 ? arguments[3] : "dbt_runner");
        properties.setProperty("password", "unused");
        properties.setProperty("connectTimeout", "10");
        String url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + database;
        for (String mode : new String[] {"extended", "simple"}) {
            properties.setProperty("preferQueryMode", mode);
            try (Connection connection = DriverManager.getConnection(url, properties)) {
                for (Map.Entry<String, Part> part : parts().entrySet()) {
                    part.getValue().run(connection);
                    System.out.println("ok jdbc " + mode + " " + part.getKey());
                }
            }
        }
    }
}
