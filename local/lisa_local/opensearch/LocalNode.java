import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.common.unit.TimeValue;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;

/**
 * One OpenSearch node in this process, until it is told to stop.
 *
 * <p>The distribution's own launcher refuses to run as root and wants limits that a laptop does not give; a node that
 * is embedded does neither. Arguments: HOME DATA PORT. Prints "listening PORT" once it answers, and nothing else.
 */
public final class LocalNode extends Node {
    private static final TimeValue HEALTHY_WITHIN = TimeValue.timeValueSeconds(50);
    private static final int CLOSED_WITHIN_SECONDS = 20;

    private LocalNode(Environment environment) {
        super(environment, List.of(), true);
    }

    public static void main(String[] arguments) {
        // OpenSearch's logging takes the streams over.
        PrintStream answers = System.out;
        PrintStream errors = System.err;
        Thread.setDefaultUncaughtExceptionHandler((thread, failure) -> {
            // A pool without its thread leaves requests unanswered: better no node.
            failure.printStackTrace(errors);
            if (failure instanceof Error) {
                Runtime.getRuntime().halt(1);
            }
        });
        try {
            Node node = new LocalNode(environment(Path.of(arguments[0]), Path.of(arguments[1]), arguments[2]));
            Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node, errors)));
            node.start();
            boolean late = node.client().admin().cluster().prepareHealth()
                .setWaitForYellowStatus().setTimeout(HEALTHY_WITHIN).get().isTimedOut();
            if (late) {
                throw new IllegalStateException("the indices are not there after " + HEALTHY_WITHIN);
            }
            int port = node.injector().getInstance(HttpServerTransport.class)
                .boundAddress().publishAddress().getPort();
            answers.println("listening " + port);
            answers.flush();
            new CountDownLatch(1).await();
        } catch (Throwable failure) {
            failure.printStackTrace(errors);
            Runtime.getRuntime().halt(1);
        }
    }

    private static Environment environment(Path home, Path data, String port) throws Exception {
        Settings settings = Settings.builder()
            .put("path.home", home.toString())
            .put("path.data", data.toString())
            .put("path.logs", data.resolve("logs").toString())
            .put("http.port", port)
            .build();
        Environment environment =
            InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), home.resolve("config"), () -> "lisa");
        LogConfigurator.setNodeName("lisa");
        LogConfigurator.configure(environment);
        return environment;
    }

    private static void close(Node node, PrintStream errors) {
        int code = 1;
        try {
            node.close();
            code = node.awaitClose(CLOSED_WITHIN_SECONDS, TimeUnit.SECONDS) ? 0 : 1;
        } catch (Exception failure) {
            failure.printStackTrace(errors);
        }
        Runtime.getRuntime().halt(code);
    }
}
