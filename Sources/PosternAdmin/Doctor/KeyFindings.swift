// Whether receivers find every key that we sign with: what `postern dkim testkey` tests, as findings.

internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

enum KeyFindings {
    /// - Parameter tests: one for each key that could be read.
    static func all(_ tests: [KeyTest]) -> [DoctorFinding] {
        tests.compactMap { test in
            guard let reason = test.reason, test.result != "temperror" else { return nil }
            return DoctorFinding(
                .dkimKey, .error, at: ["\(test.key.name.record)"], reason,
                why: "receivers cannot verify what we sign with it; under p=reject such mail may be lost",
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
        return tests
    }
}
