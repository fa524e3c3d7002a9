// `postern manual`: the manual pages, made of what --help and the sample configuration are made of. A package has them for
// man(1); here they are for who has none.

internal import ArgumentParser
internal import PosternDaemon

/// `postern manual`.
struct ManualCommand: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "manual",
        abstract: "Prints a page of the manual.",
        usage: "postern manual [<page>]",
        discussion: """
            Pages are called as man(1) calls their files: postern.1, postern.toml.5, postern-dkim.8. Without a name \
            they are listed, one a line.

            EXAMPLES
              postern manual postern.toml.5 | man -l -

            EXIT STATUS
              0   done
              64  the command line is wrong

            FILES
              /usr/share/man/man1, man5, man8
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(help: "The page.") var page: String?

    func validate() throws {
        if let page, !Self.pages.contains(where: { $0.file == page }) {
            throw ValidationError(
                "expected one of \(Self.pages.map(\.file).joined(separator: ", ")); found \"\(page)\"")
        }
    }

    /// All pages, the program's first.
    static var pages: [ManualPage] {
        [PosternCommand.manualPage, SampleConfiguration.manualPage] + ConfigurationRole.manualPages
    }

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        if let page { return CommandOutput(text: Self.pages.first { $0.file == page }?.text ?? "") }
        return options.output(
            Self.pages.map { "\($0.file)\n" }.joined(), json: .list(Self.pages.map { .text($0.file) }))
    }
}

extension PosternCommand {
    /// So wide that no line of a help text is folded.
    private static let columns = 2000

    /// postern(1): all commands, each with what its --help says.
    static var manualPage: ManualPage {
        var page = ManualPage("postern", section: 1, purpose: ConfigurationRole.check.purpose)
        page.section("Synopsis")
        page.paragraph("postern <subcommand> ...")
        page.section("Description")
        for help in help(columns: columns) {
            if !help.words.isEmpty { page.section("postern " + help.words.joined(separator: " ")) }
            page.help(help.text)
        }
        page.section("See also")
        page.paragraph(
            "postern.toml(5)" + ConfigurationRole.manualPages.map { ", \($0.name)(\($0.section))" }.joined())
        return page
    }
}
