// What reading a configuration gave: a snapshot or none, what is wrong, and what is right and yet hardly meant.

/// What reading a configuration gave.
public struct LoadResult: Sendable {
    /// The snapshot for a start; nil if a problem is an error.
    public let configuration: Configuration?
    /// What could be read, whatever is wrong, with defaults in the place of mistakes: for finding the daemons' sockets.
    /// No mail is judged by it.
    public let readable: Configuration?
    /// In the order in which they stand in the file.
    public let problems: [ConfigurationProblem]
    /// What is right and yet hardly meant: `check` tells it, nothing is refused because of it.
    public let advice: [ConfigurationProblem]
    /// Lists and zones that the file names and that were looked at, absolute; neither keys nor passwords.
    public let namedFiles: [String]

    /// The snapshot for a reload, which takes every problem as an error; nil if there is one.
    public var flawless: Configuration? { problems.isEmpty ? configuration : nil }

    /// There is nothing to read; `problem` says why.
    init(_ problem: ConfigurationProblem) {
        (configuration, readable, problems, advice, namedFiles) = (nil, nil, [problem], [], [])
    }

    /// The file as a whole is the problem.
    init(whole file: String, _ text: String) {
        self.init(ConfigurationProblem(file: file, line: 0, column: 0, keyPath: "", text: text, anchor: .start))
    }

    /// - Parameter essential: names of the tables whose problems are errors; nil for all.
    init(_ configuration: Configuration, _ reader: ValueReader, essential: Set<String>?) {
        let judged = reader.problems.map { problem in
            var problem = problem
            let table = problem.keyPath.prefix { $0 != "." && $0 != "[" }
            if let essential, !table.isEmpty, !essential.contains(String(table)) { problem.severity = .warning }
            return problem
        }
        self.configuration = judged.contains { $0.severity == .error } ? nil : configuration
        readable = configuration
        problems = Self.inOrder(judged)
        advice = Self.inOrder(reader.advice)
        namedFiles = reader.namedFiles
    }

    /// A stable sort: lines of a list's file keep their order at the place that names it.
    private static func inOrder(_ problems: [ConfigurationProblem]) -> [ConfigurationProblem] {
        problems.enumerated().sorted { ($0.element.anchor, $0.offset) < ($1.element.anchor, $1.offset) }.map(\.element)
    }
}
