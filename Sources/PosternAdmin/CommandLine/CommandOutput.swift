// What a subcommand leaves behind: octets for standard output, lines for standard error, an exit status.

internal import PosternAuth
internal import PosternDaemon

struct CommandOutput: Sendable, Equatable {
    /// For standard output.
    var octets: [UInt8]
    /// For standard error, one line each, without the program's name.
    var notes: [String]
    var status: ExitStatus

    init(octets: [UInt8] = [], notes: [String] = [], status: ExitStatus = .done) {
        self.octets = octets
        self.notes = notes
        self.status = status
    }

    init(text: String, notes: [String] = [], status: ExitStatus = .done) {
        self.init(octets: Array(text.utf8), notes: notes, status: status)
    }

    /// One JSON value on one line.
    init(json: JSONValue, notes: [String] = [], status: ExitStatus = .done) {
        self.init(text: "\(json)\n", notes: notes, status: status)
    }
}

extension GlobalOptions {
    /// One outcome, for people or with `--json` for programs.
    func output(
        _ text: @autoclosure () -> String, json object: @autoclosure () -> JSONValue, notes: [String] = [],
        status: ExitStatus = .done
    ) -> CommandOutput {
        json
            ? CommandOutput(json: object(), notes: notes, status: status)
            : CommandOutput(text: text(), notes: notes, status: status)
    }
}

/// Why a subcommand could not do its work.
struct CommandFailure: Error, Equatable {
    var status: ExitStatus
    /// What was expected, what came, what to do.
    var text: String
    /// Warnings that came before, for standard error too.
    var notes: [String] = []

    init(_ status: ExitStatus, _ text: String) {
        self.status = status
        self.text = text
    }

    /// A file that could not be read or written.
    init(_ error: FileFailure) {
        self.init(error.isAboutData ? .badData : .unavailable, error.description)
    }

    /// A private key that could not be used.
    /// - Parameter path: where it was read.
    init(_ error: KeyError, in path: String) {
        self.init(.badData, "\(path): expected a private key for DKIM, found \(error)")
    }
}
