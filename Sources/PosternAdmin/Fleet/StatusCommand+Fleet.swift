// `postern status --fleet` and `--publish`: through the store that the hosts share.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternStore

extension StatusCommand {
    func fleetOutput(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let result = options.load(for: .dkim, in: surroundings)
        guard let configuration = result.readable else { throw options.failure(result) }
        guard let url = configuration.store.url else {
            throw CommandFailure(
                .badConfiguration,
                "\(options.configPath): expected store.url, the store that a fleet shares, found none")
        }
        let host = try publish ? options.thisHost(configuration, DaemonControl(options, place), in: surroundings) : nil
        // What it would warn of is thrown as well.
        let store = FleetStore(SharedStore(url, configuration.store, log: NoteCollector()))
        do throws(StoreFailure) {
            if let host {
                try store.publish(host)
                return options.output(
                    "\(host.name): told to \(url)\n",
                    json: ["published": .text(host.name), "store": .text("\(url)")])
            }
            if let forget {
                let wasKnown = try store.forget(forget)
                return options.output(
                    wasKnown ? "forgotten\n" : "not known\n", json: ["forgotten": .boolean(wasKnown)],
                    status: wasKnown ? .done : .negative)
            }
            let members = try store.members()
            let report = FleetReport(url: "\(url)", members: members)
            let own = DaemonControl.printable("\(configuration.host.name)")
            let notes =
                members.contains { $0.name == own }
                ? []
                : [
                    "note: this host, \(own), has not told the store of itself: systemctl enable --now postern-fleet.timer"
                ]
            return options.output(report.text, json: report.json, notes: notes, status: report.status)
        } catch {
            throw CommandFailure(.unavailable, "store \(url): \(error)")
        }
    }
}
