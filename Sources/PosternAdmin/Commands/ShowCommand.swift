// `postern show`: the configuration that holds.

internal import ArgumentParser
internal import PosternDaemon
internal import PosternMail

struct ShowCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Prints what the configuration says beside the defaults.",
        usage: "postern show [<options>] [--all] [<file>]",
        discussion: """
            Prints TOML that could be the configuration: the keys whose values are not the defaults, or with --all \
            every key. Lists that stand in files of their own are written out, and paths are absolute. With --all, \
            what has no value of its own stands in a comment with what is done in its place. Query keys of DNS lists \
            are printed as "(key)", with which a zone is not read back, and private keys not at all.

            This is the file as it is now; a daemon has what it read when it started or was last reloaded.

            With --json, one object on one line, its tables as TOML has them; with --all, null is what has no value:
              {"file":"postern.toml","all":false,
              "settings":{"dkim":{"author":"login","key":[{"domain":"example.com",
              "selector":"2026q4","file":"/etc/postern/keys/example.com/2026q4.pem"}]}}}

            EXAMPLES
              postern show
              postern show --all | less
              postern show --all --json | jq .settings.dkim.min_rsa_bits

            EXIT STATUS
              0   done
              64  the command line is wrong
              78  the configuration is wrong, or cannot be read

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Flag(help: "Print every key, also those with their defaults.") var all = false
    @Argument(help: "The configuration. (default: that of --config)") var file: String?

    func validate() throws { _ = try options.naming(file) }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let options: GlobalOptions
        do throws(ValidationError) { options = try self.options.naming(file) } catch { throw CommandFailure(error) }
        let (configuration, notes) = try options.configurationNeeded(for: .check, in: surroundings)
        let shown = configuration.shown(all: all)
        let path = options.configPath
        guard !options.json else {
            return CommandOutput(
                json: ["file": .text(path), "all": .boolean(all), "settings": .written(shown.json)], notes: notes)
        }
        let head: String
        if all {
            head = "everything that holds"
        } else {
            head = shown.toml.isEmpty ? "nothing differs from the defaults" : "what differs from the defaults"
        }
        let rest = shown.toml.isEmpty ? "" : "\n\(shown.toml)"
        return CommandOutput(text: "# \(LogText.escaped(Array(path.utf8))): \(head)\n\(rest)", notes: notes)
    }
}
