// What is wrong with a configuration, one value for each place. A problem says what was expected, what was found and,
// where that is not plain, what to do.

/// One thing that the admin has to look at.
public struct ConfigurationProblem: Hashable, Sendable {
    /// How a start takes it; `check` and `reload` take every problem as an error.
    public enum Severity: Hashable, Sendable {
        /// The snapshot is not used.
        case error
        /// Another daemon's table: this one starts with that table's defaults.
        case warning
    }

    /// The file that holds the mistake: the configuration, or a list that it names by `file:`.
    public let file: String
    /// From 1; 0 where the file as a whole is meant.
    public let line: Int
    public let column: Int
    /// Such as `dkim.key[2].selector`, elements counted from 1; empty for a syntax error.
    public let keyPath: String
    /// `expected …, found …`.
    public let text: String
    public internal(set) var severity: Severity

    /// Where the configuration itself names it; problems are told in this order.
    let anchor: SourcePosition

    init(
        file: String, line: Int, column: Int, keyPath: String, text: String, severity: Severity = .error,
        anchor: SourcePosition
    ) {
        self.file = file
        self.line = line
        self.column = column
        self.keyPath = keyPath
        self.text = text
        self.severity = severity
        self.anchor = anchor
    }
}

extension ConfigurationProblem: CustomStringConvertible {
    /// `FILE:LINE:COLUMN: key.path: expected …, found …`.
    public var description: String {
        let place = line > 0 ? "\(file):\(line):\(column)" : file
        return keyPath.isEmpty ? "\(place): \(text)" : "\(place): \(keyPath): \(text)"
    }
}
