// Whether receivers find every key that we sign with: what `postern dkim testkey` tests, as findings.

internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

enum KeyFindings {
    /// - Parameter tests: one for each key that could be read.
    /// - Parameter requirePublished: `dkim.require_published`.
    static func all(_ tests: [KeyTest], requirePublished: Bool) -> [DoctorFinding] {
        let published = Set(tests.filter { $0.result == "ok" }.map(\.key.name.domain))
        return tests.compactMap { test in
            guard let reason = test.reason, test.result != "temperror", test.result != "retired" else { return nil }
            // Such a key rests while another one of its domain is published; of a directory's in any case.
            let isOutOfTurn = test.turn != .itsOwn
            let rests = isOutOfTurn || requirePublished && published.contains(test.key.name.domain)
            return DoctorFinding(
                .dkimKey, rests ? .warning : .error, at: ["\(test.key.name.record)"], reason,
                why: isOutOfTurn
                    ? "another key of its directory signs until it is published, and what an older one has signed "
                        + "fails while its record is wrong"
                    : rests
                        ? "postern-dkim does not sign with it until it is published (dkim.require_published)"
                        : "receivers cannot verify what we sign with it; under p=reject such mail may be lost",
                mends: [.advice("publish what this prints: \(test.recordCommand)")])
        }
    }

    /// Asks DNS for the keys.
    static func tests(of keys: [NamedKey], config: String?, dns: any DNSAnswering) throws(CommandFailure) -> [KeyTest] {
        var tests: [KeyTest] = []
        for (key, answer) in zip(keys, dns.answers(to: keys.map { Question($0.name.record, .txt) })) {
            let found: PublishedKey
            do throws(CryptoError) { found = try PublishedKey(answer, for: key.privateKey) } catch {
                throw CommandFailure(.unavailable, "expected OpenSSL to tell the public key, found \(error)")
            }
            let option = config.map { "--config \(PostfixEdit.quoted($0)) " } ?? ""
            tests.append(
                KeyTest(
                    key: key, found: found,
                    recordCommand: "postern dkim record \(option)--domain \(key.name.domain) --selector "
                        + "\(key.name.selector)"))
        }
        KeyTest.takeTurns(&tests)
        return tests
    }
}
