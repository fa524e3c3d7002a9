// Options that several subcommands take, each declared once.

internal import ArgumentParser
internal import PosternMail

/// Where the daemons are asked.
struct ControlArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Where the control sockets are. (default: listen.control)", valueName: "folder"))
    var control: String?
}

/// How much of a list is wanted.
struct ListArguments: ParsableArguments {
    @Option(help: ArgumentHelp("End after so many entries.", valueName: "number")) var limit = 10_000

    func validate() throws {
        guard limit > 0 else { throw ValidationError("expected a limit of 1 or more, found \(limit)") }
    }
}

extension IPAddress {
    /// An option's or argument's value.
    init(argument text: String) throws(ValidationError) {
        guard let address = IPAddress(text) else {
            throw ValidationError("expected an IPv4 or IPv6 address, found \"\(LogText.escaped(text.utf8))\"")
        }
        self = address
    }
}
