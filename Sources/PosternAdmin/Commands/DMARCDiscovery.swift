// `postern dmarc`: how a domain's DMARC policy is found (RFC 9989 §4.10): each name of the tree walk with what is
// published there and what is wrong with it, the organizational domain, and the policy that governs. No message is
// judged.

internal import ArgumentParser
internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct DMARCDiscovery: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "dmarc",
        abstract: "Shows how the DMARC policy of a domain is found (RFC 9989).",
        usage: "postern dmarc [<options>] <domain>",
        discussion: """
            Walks from <domain> towards the root as the daemons do for an author at <domain>. Prints one line for each \
            name that is asked, with its record, "no record", "several records, which count as none", or "temporary \
            failure: " and why; below it what is wrong with the record, and TXT records that are none for DMARC. Then \
            the organizational domain, and the policy that governs <domain> with the tag and the name it comes from. \
            Names above the one that ends the walk by psd= are asked with the others, and do not count.

            --discovery psl finds the organizational domain by the public suffix list, as RFC 7489 did, for comparison: \
            only <domain> and its organizational domain are asked then.

            With --json, one object on one line. The result of a name is record, none, several or temperror; exists \
            is null where DNS could not tell, policy where none governs, and reason where one does:
              {"domain":"mail.example.com","exists":true,"walk":[
              {"name":"_dmarc.mail.example.com","result":"none","counts":true,
              "records":[],"mistakes":[],"ignored":[],"reason":null},…],
              "organizational_domain":"example.com","policy_domain":"example.com",
              "policy":"reject","tag":"sp","testing":false,"reason":null}

            EXAMPLES
              postern dmarc example.com
              postern dmarc --resolver 192.0.2.53 mail.example.com
              postern dmarc --json example.com | jq -r .policy

            EXIT STATUS
              0   a policy governs <domain>, be it "none" and its record not flawless
              1   none does: there is no record, or none with a usable policy
              64  the command line is wrong
              69  DNS could not tell; the public suffix list cannot be read
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
              \(PublicSuffixFile.path), with --discovery psl
            """)

    @OptionGroup var options: GlobalOptions
    @Option(help: "How the organizational domain is found: treewalk or psl.") var discovery = Discovery.treewalk

    enum Discovery: String, ExpressibleByArgument, CaseIterable {
        case treewalk, psl

        var method: PosternMail.DMARCDiscovery { self == .psl ? .psl : .treewalk }
    }

    @Argument(
        help: "The domain of an author, RFC5322.From.",
        transform: { text in
            do throws(DomainNameError) {
                let domain = try DomainName(text)
                if domain != .root { return domain }
            } catch {
                throw ValidationError("expected a domain name, found \"\(LogText.escaped(text.utf8))\", \(error)")
            }
            throw ValidationError("expected a domain name, found the root")
        })
    var domain: DomainName

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let log = NoteCollector()
        let (loaded, resolver) = try options.resolving(in: surroundings)
        let discovered = DiscoveredPolicy(
            of: domain, by: try DMARCDiscoveryMethod(discovery.method), dns: surroundings.dns(resolver, log))
        let notes = loaded.notes + log.notes(on: resolver)
        let status: ExitStatus =
            discovered.finding.result == .temperror
            ? .unavailable : discovered.policy == nil ? .negative : .done
        guard !options.json else { return CommandOutput(json: discovered.json, notes: notes, status: status) }
        return CommandOutput(text: discovered.lines, notes: notes, status: status)
    }
}
