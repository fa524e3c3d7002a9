// The words of a scenario that every milter's scenarios have: what DNS says, who connects, and the message.
// Tests/Scenarios/README.md tells them.

import Foundation
public import PosternMail

/// What is wrong with a scenario's line.
public struct ScenarioError: Error, CustomStringConvertible {
    public let description: String

    public init(_ step: Scenario.Step, _ text: String) { description = "line \(step.line): \(text)" }
}

public struct ScenarioMessage {
    public var configuration = ""
    public var zone = ""
    public var failing: Set<DomainName> = []
    public var now = UnixTime(seconds: 1_790_000_000)
    public var daemonName: String?
    public var client = SMTPClient(name: [], address: nil)
    public var helo: [UInt8]?
    public var envelope = Envelope(mailFrom: [])
    public var header: [HeaderField] = []
    public var body: [UInt8] = []

    public init() {}

    public var session: SMTPSession { SMTPSession(client: client, daemonName: daemonName, helo: helo) }

    /// - Returns: false for a word that is not one of these.
    public mutating func take(_ step: Scenario.Step) throws -> Bool {
        switch step.word {
        case "config": configuration += step.argument + "\n"
        case "zone": zone += step.argument + "\n"
        case "failing": failing.insert(try DomainName(step.argument))
        case "clock": now = UnixTime(seconds: Int64(try Date(step.argument, strategy: .iso8601).timeIntervalSince1970))
        case "daemon": daemonName = step.argument
        case "helo": helo = Array(step.argument.utf8)
        case "connect":
            let parts = step.argument.split(whereSeparator: { " []".contains($0) }).map(String.init)
            guard let name = parts.first, let address = parts.dropFirst().first else {
                throw ScenarioError(step, "expected NAME [ADDRESS]")
            }
            let port = parts.dropFirst(2).first.flatMap { UInt16($0) } ?? 4711
            client = SMTPClient(name: Array(name.utf8), address: IPAddress(address), port: port)
        case "mail":
            let address = step.argument.dropFirst().prefix { $0 != ">" }
            let login = step.argument.split(separator: " ").first { $0.hasPrefix("login=") }?.dropFirst(6)
            envelope = Envelope(mailFrom: Array(address.utf8), login: login.map { Array($0.utf8) })
            header = []
            body = []
        case "header":
            if step.argument.hasPrefix("+"), var last = header.popLast() {
                last.value += Array("\r\n\(step.argument.dropFirst())".utf8)
                header.append(last)
            } else {
                header.append(try field(step.argument, step))
            }
        case "body": body += Array("\(step.argument)\r\n".utf8)
        case "tamper":
            if step.argument.hasPrefix("body ") {
                body = Array("\(step.argument.dropFirst(5))\r\n".utf8)
            } else {
                header.insert(try field(String(step.argument.dropFirst(7)), step), at: 0)
            }
        default: return false
        }
        return true
    }

    private func field(_ text: String, _ step: Scenario.Step) throws -> HeaderField {
        guard let colon = text.firstIndex(of: ":") else { throw ScenarioError(step, "a field has a colon") }
        return HeaderField(name: Array(text[..<colon].utf8), value: Array(text[text.index(after: colon)...].utf8))
    }
}

extension Verdict {
    /// The fields put on top, in the order in which a reader sees them.
    public var inserted: [HeaderField] {
        edits.reversed().compactMap { if case .insertOnTop(let field) = $0 { field } else { nil } }
    }

    /// The numbers of the removed fields of that name, in the order of removal.
    public func removed(_ name: String = "Authentication-Results") -> [Int] {
        edits.compactMap { edit in
            if case .remove(let found, let occurrence) = edit, found == Array(name.utf8) { occurrence } else { nil }
        }
    }
}

extension HeaderField {
    /// `Name: value`, each run of white space one space.
    public var unfolded: String {
        let value = String(decoding: value, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        return "\(String(decoding: name, as: UTF8.self)): \(value.joined(separator: " "))"
    }
}
