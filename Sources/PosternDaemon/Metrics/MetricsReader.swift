// Who may ask daemons for their numbers beside root and the daemons themselves.

public enum MetricsReader {
    /// The user that postern-metrics.service runs as; where the machine has none, nobody.
    public static let user = "postern-metrics"
}
