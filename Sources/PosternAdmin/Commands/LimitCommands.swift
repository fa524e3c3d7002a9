// `postern limit`: what limits have counted, asked of postern-rate, whose file nobody else opens.

internal import ArgumentParser
internal import PosternAdmission
internal import PosternDaemon

/// `postern limit`.
struct LimitCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "limit",
        abstract: "Looks into what limits have counted, and changes it.",
        discussion: """
            A limit counts for each of its keys: the values of its per, joined by commas, such as an account. \
            postern-rate is asked over its control socket.

            EXAMPLES
              postern limit list --over
              postern limit show ann
              postern limit block --limit 'per account' --for 1d ann

            EXIT STATUS
              0   done
              1   nothing is counted for the key
              64  the command line is wrong
              69  postern-rate does not run, or what it has counted cannot be read
            """,
        subcommands: [LimitList.self, LimitShow.self, LimitClear.self, LimitBlock.self, LimitUnblock.self])
}

struct LimitList: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Lists the keys that something is counted for.",
        usage: "postern limit list [<options>]",
        discussion: """
            One line a key of a limit, in no order: its state, limit and key, what is used of what is allowed in each \
            span of time, what is reserved for messages on their way, and client addresses seen since half of it was \
            used. A state is
              free      more goes
              over      one of its spans is used up
              blocked   everything is refused for a time, after going over
              stopped   the same, since the admin has said so

            With --json, one object on one line:
              {"entries":[{"limit":"per account","count":"recipients","key":"ann",
              "uses":[{"used":200,"allowed":200,"seconds":3600}],"reserved":0,
              "over":true,"blocked_seconds":0,"blocked_by_admin":false,
              "clients":["192.0.2.7"]}],"complete":true}

            EXAMPLES
              postern limit list
              postern limit list --over --json | jq -r '.entries[].key'

            EXIT STATUS
              0   listed
              64  the command line is wrong
              69  postern-rate does not run, or what it has counted cannot be read

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Flag(help: "Only keys that nothing more goes for: used up or blocked.") var over = false
    @OptionGroup var wanted: ListArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        try DaemonControl(options, place).list(
            of: .rate, ControlCommand("limit list", ["over": .boolean(over)]), wanted, as: options, in: surroundings,
            head: LimitText.head, row: LimitText.row)
    }
}

struct LimitShow: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Shows how a key stands in each limit that counts for it.",
        usage: "postern limit show [<options>] <key>",
        discussion: """
            With --json, one object on one line: {"entries":[…]}, as list has them.

            EXAMPLES
              postern limit show ann
              postern limit show 192.0.2.7

            EXIT STATUS
              0   shown
              1   nothing is counted for it
              64  the command line is wrong
              69  postern-rate does not run, or what it has counted cannot be read

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments
    @Argument(help: ArgumentHelp("The values of per, joined by commas, as list shows them.", valueName: "key"))
    var key: String

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        let document = try asked.document(of: .rate, ControlCommand("limit show", ["key": .text(key)]))
        guard let entries = document["entries"]?.elements else {
            throw asked.unexpected("a list of entries", of: .rate)
        }
        return options.output(
            entries.isEmpty ? "nothing is counted\n" : Columns.text([LimitText.head] + entries.map(LimitText.row)),
            json: ["entries": .list(entries.map(JSONValue.init))], notes: asked.notes,
            status: entries.isEmpty ? .negative : .done)
    }
}

/// Which keys of which limits are changed.
struct LimitKeyArguments: ParsableArguments {
    @OptionGroup var place: ControlArguments
    @Option(help: ArgumentHelp("The limit's name. (default: all that count for the key)", valueName: "name"))
    var limit: String?
    @Argument(help: ArgumentHelp("The values of per, joined by commas, as list shows them.", valueName: "key"))
    var key: String

    /// Asks postern-rate for it.
    /// - Parameter word: what was done; also the answer's member.
    func carryOut(
        _ name: String, _ word: String, _ options: GlobalOptions, _ more: ControlDocument = .null
    ) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        let arguments: ControlDocument = [
            "key": .text(key), "limit": limit.map { .text($0) } ?? .null, "seconds": more,
        ]
        let document = try asked.document(of: .rate, ControlCommand(name, arguments))
        let count = try asked.number(word, of: "limits", in: document, of: .rate)
        let text = count == 0 ? "nothing is counted for it" : "\(word) in \(count == 1 ? "1 limit" : "\(count) limits")"
        return options.output(
            text + "\n", json: .object([.init(key: word, value: .number(count))]), notes: asked.notes,
            status: count == 0 ? .negative : .done)
    }

    /// What the commands with these arguments end with.
    /// - Parameter negative: what 1 means beside that nothing is counted.
    static func exits(_ negative: String = "") -> String {
        """
        EXIT STATUS
          0   done
          1   nothing is counted for it\(negative)
          64  the command line is wrong
          69  postern-rate does not run, or knows no limit of that name

        FILES
          \(DaemonArguments.defaultConfiguration)
        """
    }
}

struct LimitClear: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "clear",
        abstract: "Forgets what was counted for a key, and ends its block.",
        usage: "postern limit clear [<options>] <key>",
        discussion: """
            What is reserved for messages on their way stays reserved.

            With --json, one object on one line: {"cleared":1}, the number of limits.

            EXAMPLES
              postern limit clear ann

            \(LimitKeyArguments.exits())
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var arguments: LimitKeyArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        try arguments.carryOut("limit clear", "cleared", options)
    }
}

struct LimitBlock: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "block",
        abstract: "Refuses whatever a limit would count for a key, for a time.",
        usage: "postern limit block [<options>] <key>",
        discussion: """
            Messages that are on their way are refused too, by the limit's action. With --limit the key needs not have \
            been counted yet. unblock takes it back.

            With --json, one object on one line: {"blocked":1}, the number of limits.

            EXAMPLES
              postern limit block --for 1d ann
              postern limit block --limit 'per account' ann

            \(LimitKeyArguments.exits(", and no limit was named"))
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var arguments: LimitKeyArguments
    @Option(name: .customLong("for"), help: ArgumentHelp("How long: 90s, 1h, 7d; at most 366d.", valueName: "time"))
    var time = "1h"

    private static let most = LimitMemory.maxBlock.components.seconds

    private var seconds: Int64? {
        guard let seconds = Quantity.duration(time)?.components.seconds, (1...Self.most).contains(seconds) else {
            return nil
        }
        return seconds
    }

    func validate() throws {
        guard seconds != nil else { throw ValidationError("expected a time of 1s to 366d, found \"\(time)\"") }
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        try arguments.carryOut("limit block", "blocked", options, seconds.map { .number($0) } ?? .null)
    }
}

struct LimitUnblock: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "unblock",
        abstract: "Ends a key's block, whoever began it; what was counted stays.",
        usage: "postern limit unblock [<options>] <key>",
        discussion: """
            With --json, one object on one line: {"unblocked":1}, the number of limits.

            EXAMPLES
              postern limit unblock ann

            \(LimitKeyArguments.exits())
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var arguments: LimitKeyArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        try arguments.carryOut("limit unblock", "unblocked", options)
    }
}
