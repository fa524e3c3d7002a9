// What an import makes of another program's settings: a piece of our configuration, and everything of theirs that is
// not in it. Whether a value may stand in the configuration is asked of the one who reads it, so that what is printed
// is what `postern check` takes. Pure functions: files are read by the command.

internal import PosternDaemon

/// A line of a file that somebody else's program reads.
struct ImportedLine: Hashable, Sendable {
    let file: String
    /// From 1.
    let number: Int
    /// What stands there, or the part of it that is meant; for lines that tell of it, without query keys.
    let text: String

    /// The line with other words for what is meant.
    func named(_ text: String) -> ImportedLine { ImportedLine(file: file, number: number, text: text) }
}

/// What is to be said about a line.
struct ImportRemark: Hashable, Sendable {
    let line: ImportedLine
    let text: String
}

struct ImportedSettings: Hashable, Sendable {
    /// For the configuration; empty where nothing could be carried over.
    var toml = ""
    /// What is not in it, and why, in the order of the lines.
    var leftOut: [ImportRemark] = []
    /// What is in it and yet hardly meant, or counts otherwise than before.
    var warnings: [ImportRemark] = []

    /// What `postern check` would say of a text.
    static func check(_ toml: String) -> LoadResult {
        Configuration.read(Array(toml.utf8), file: "import", folder: "/", for: .check)
    }

    /// A text as TOML has it. A JSON string is a TOML basic string (TOML 1.0, "String"); there are no controls in it.
    static func quoted(_ text: String) -> String { JSONLine.quoted(text) }

    /// Whether a text is of signs that names, addresses and expressions are made of: ASCII, no controls, no space.
    static func isPlain(_ text: some Sequence<UInt8>) -> Bool { text.allSatisfy { (0x21...0x7E).contains($0) } }
}

/// The lines of a file, for programs that end them with LF and overlook CR.
enum ImportedText {
    /// Longest file, in octets: what it becomes must fit into a configuration.
    static let maxOctets = 1 << 20

    static func lines(_ octets: [UInt8]) -> [ArraySlice<UInt8>] {
        octets.split(separator: 0x0A, omittingEmptySubsequences: false)
    }

    static func isSpace(_ octet: UInt8) -> Bool { octet == 0x20 || (0x09...0x0D).contains(octet) }

    static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line.drop(while: isSpace)
        while let last = line.last, isSpace(last) { line.removeLast() }
        return line
    }
}
