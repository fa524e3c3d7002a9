// Interoperation with two implementations that nobody here wrote: what they sign passes our milter on a real Postfix,
// and what we sign, by the milter and by the CLI, passes theirs. RSA and Ed25519, every canonicalization.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("interoperation", .serialized, .alone(with: MailHost.self)) struct Interoperation {
        @Test("what peers sign passes", arguments: PeerKey.Kind.allCases)
        func theirs(kind: PeerKey.Kind) throws {
            let host = try MailHost.shared()
            let (key, selector) = host.keys.strangers(kind)
            let client = try host.session(.stranger)
            for canonicalization in Corpus.canonicalizations {
                // 2 MiB once each way is enough: size has nothing to do with the other choices.
                let large = canonicalization == "relaxed/relaxed" ? [Corpus.large(from: "cy@example.net")] : []
                let entries = Corpus.messages(from: "cy@example.net") + large
                let orders = entries.map {
                    SigningOrder(
                        $0.octets, key: key, domain: "example.net", selector: selector,
                        canonicalization: canonicalization)
                }
                var signed = Array(zip(entries, try DKIMPy.sign(orders)))
                if Corpus.openDKIMSigns(kind, canonicalization) {
                    signed += Array(zip(entries, try orders.map(OpenDKIM.sign)))
                }
                for (entry, message) in signed {
                    let reply = try client.send(from: "cy@example.net", to: ["bo@example.org"], message)
                    let arrival = try host.arrival(try #require(reply.queueID, "\(reply)"))
                    #expect(
                        arrival.log == [
                            Verifying.line(arrival, "dkim=pass d=example.net s=\(selector) a=\(kind.rawValue)")
                        ], "\(canonicalization) \(entry.name)")
                }
            }
        }

        @Test("what the milter signs passes at the peers")
        func milter() throws {
            let host = try MailHost.shared()
            let client = try host.session(.user)
            let entries = Corpus.messages(from: "ann@example.org") + [Corpus.large(from: "ann@example.org")]
            var delivered: [(String, [UInt8])] = []
            for entry in entries {
                let reply = try client.send(from: "ann@example.org", to: ["cy@example.net"], entry.octets)
                let arrival = try host.arrival(try #require(reply.queueID, "\(reply)"))
                delivered.append((entry.name, arrival.message.octets))
            }
            try expectPeersPass(delivered, count: 2, host)
        }

        @Test("what the CLI signs passes at the peers and here", arguments: Corpus.canonicalizations)
        func commandLine(canonicalization: String) throws {
            let host = try MailHost.shared()
            var signed: [(String, [UInt8])] = []
            // As a file has them and SMTP does not: no CRLF at the end.
            let unended = Corpus.Entry(
                name: "no-final-crlf", octets: Letter.octets(from: "ann@example.org", body: "Hello"))
            for entry in Corpus.messages(from: "ann@example.org") + [unended] {
                let result = try host.postern(
                    [
                        "dkim", "sign", "--config", host.configurationPath, "--canonicalization", canonicalization, "-",
                    ], input: entry.octets)
                #expect(result.status == 0, "\(entry.name): \(result.errors)")
                signed.append((entry.name, result.output))
                let verified = try host.postern(
                    ["dkim", "verify", "--resolver", host.resolver, "--json", "-"], input: result.output)
                #expect(verified.status == 0, "\(entry.name): \(verified.text) \(verified.errors)")
                #expect(verified.text.components(separatedBy: "\"result\":\"pass\"").count == 3, "\(verified.text)")
            }
            try expectPeersPass(signed, count: 2, host)
        }

        private func expectPeersPass(_ messages: [(name: String, octets: [UInt8])], count: Int, _ host: MailHost) throws
        {
            let opinions = try DKIMPy.verify(messages.map(\.octets), records: host.keys.records)
            for (message, opinion) in zip(messages, opinions) {
                #expect(opinion == Array(repeating: .passed, count: count), "dkimpy: \(message.name)")
                // OpenDKIM does not look at a relaxed body that ends without CRLF; with one it is the same body.
                let ended = message.octets.last == 0x0A ? message.octets : message.octets + [0x0D, 0x0A]
                let other = try OpenDKIM.verify(ended, records: host.keys.records)
                #expect(other.results == Array(repeating: "pass", count: count), "\(message.name): \(other.field)")
            }
        }
    }
}
