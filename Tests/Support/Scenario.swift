// A transaction as text: what the zone says, what the clock shows, what the client sends, what is expected. An admin can
// read and write one; Tests/Scenarios/README.md tells the words. The runner of each daemon's tests gives them meaning.

import Foundation

public struct Scenario: Sendable, CustomStringConvertible {
    /// One line: a word and what follows it.
    public struct Step: Sendable {
        public let line: Int
        public let word: String
        public let argument: String
    }

    public let name: String
    public let steps: [Step]

    /// - Parameter text: lines `word argument`; empty lines and those that begin with `#` say nothing.
    public init(name: String, text: String) {
        self.name = name
        steps = text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { number, line in
            guard !line.hasPrefix("#"), let word = line.split(whereSeparator: \.isWhitespace).first else { return nil }
            let argument = line.drop(while: \.isWhitespace).dropFirst(word.count).drop(while: \.isWhitespace)
            return Step(line: number + 1, word: String(word), argument: String(argument))
        }
    }

    /// All `.txn` files of a folder below Tests/Scenarios, by name.
    public static func all(in folder: String) throws -> [Scenario] {
        let place = Fixtures.folder.deletingLastPathComponent().appending(path: "Scenarios").appending(path: folder)
        return try FileManager.default.contentsOfDirectory(at: place, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "txn" }.sorted { $0.path < $1.path }
            .map {
                Scenario(
                    name: $0.deletingPathExtension().lastPathComponent,
                    text: try String(contentsOf: $0, encoding: .utf8))
            }
    }

    public var description: String { name }
}
