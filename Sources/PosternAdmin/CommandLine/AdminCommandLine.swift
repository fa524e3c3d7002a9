// From the words of a command line to an exit status: parses them, runs the subcommand, writes what it has to say.
// The one file here that prints. Subcommands return values, so that tests call functions and not processes.

internal import ArgumentParser
internal import Glibc
internal import PosternDaemon
internal import PosternMail

/// The program `postern`.
public enum AdminCommandLine {
    /// Runs one command and writes its output.
    /// - Parameter arguments: the words after the program's name.
    /// - Returns: the exit status; see `ExitStatus`.
    public static func run(_ arguments: [String]) -> Int32 {
        let outcome = output(of: arguments, in: .process)
        var status = outcome.status
        if let trouble = StandardStream.output.write(outcome.octets) {
            let failure = CommandFailure.unwritten(trouble)
            StandardStream.complain("error: \(failure.text)")
            status = failure.status
        }
        for note in outcome.notes { StandardStream.complain(note) }
        return status.rawValue
    }

    /// What a command line leads to. Never exits and never prints.
    static func output(of arguments: [String], in surroundings: Surroundings) -> CommandOutput {
        let command: any ParsableCommand
        do {
            let words = SPFCheck.withEmptyValues(GlobalOptions.movedToSubcommand(arguments))
            command = try PosternCommand.parseAsRoot(words)
        } catch {
            if let text = PosternCommand.unknownSubcommand(in: arguments) {
                return CommandOutput(notes: ["error: \(text)"], status: .usage)
            }
            return hidingKeys(misuse(error), arguments)
        }
        switch command {
        case let command as any Subcommand:
            do throws(CommandFailure) {
                return try command.output(in: surroundings)
            } catch {
                return CommandOutput(notes: ["error: \(error.text)"] + error.notes, status: error.status)
            }
        case let group as any SubcommandGroup:
            let help = PosternCommand.helpMessage(for: type(of: group))
            return CommandOutput(notes: ["error: expected a subcommand\n\(help)"], status: .usage)
        default:  // ArgumentParser's own `help`, which throws what it has to say
            var command = command
            do { try command.run() } catch { return misuse(error) }
            return CommandOutput()
        }
    }

    /// ArgumentParser repeats what it could not use: a zone's name may hold a query key.
    private static func hidingKeys(_ output: CommandOutput, _ arguments: [String]) -> CommandOutput {
        guard arguments.contains("dns") || arguments.contains("dnsbl") else { return output }
        var output = output
        for word in arguments where ZoneName.redacted(word) != word {
            output.notes = output.notes.map { $0.replacing(word, with: ZoneName.redacted(word)) }
        }
        return output
    }

    /// What ArgumentParser throws: a wrong command line, or a wish for help or the version.
    private static func misuse(_ error: any Error) -> CommandOutput {
        let text = PosternCommand.fullMessage(for: error)
        guard PosternCommand.exitCode(for: error).isSuccess else {
            let prefix = "Error: "
            let bare = text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text
            return CommandOutput(notes: ["error: \(bare)"], status: .usage)
        }
        return CommandOutput(text: text.hasSuffix("\n") ? text : text + "\n")
    }
}

/// A descriptor that was open before us.
enum StandardStream: Int32 {
    case output = 1
    case error = 2

    /// A line on standard error.
    static func complain(_ text: String) {
        // Nobody is left to be told when standard error is closed.
        _ = error.write(Array("postern: \(text)\n".utf8))
    }

    /// Writes everything.
    /// - Returns: what the system says when it cannot.
    func write(_ octets: [UInt8]) -> String? {
        var rest = octets[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(rawValue, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                var entry = pollfd(fd: rawValue, events: Int16(POLLOUT), revents: 0)
                _ = poll(&entry, 1, -1)  // a terminal or pipe that its other users made non-blocking
            } else if errno != EINTR {
                return SystemText.of(errno)
            }
        }
        return nil
    }
}

extension CommandFailure {
    /// Standard output cannot be written.
    static func unwritten(_ trouble: String) -> CommandFailure {
        CommandFailure(
            .unavailable, "cannot write to standard output: \(trouble); what it holds is not complete")
    }
}
